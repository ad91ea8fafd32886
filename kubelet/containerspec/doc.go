// Package containerspec turns a pod into what the runtime makes of it: the
// configuration of the sandbox and of each container, with environment,
// commands, security, DNS and the hosts file. All functions are pure, apart from
// [Environment], which reads config maps and secrets through [Sources].
package containerspec
