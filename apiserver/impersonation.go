package apiserver

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// impersonationMode is a permission to act as another user. All but the oldest are for
// some users and some requests only (KEP-5284).
type impersonationMode struct {
	// name in the verbs "impersonate:NAME" and "impersonate-on:NAME:VERB"; "" is the
	// oldest, whose verb is "impersonate", for whatever is asked for.
	name string
	// fits says that the mode is for who to act as wanted.
	fits func(wanted *user.DefaultInfo, who user.Info) bool
}

// impersonationModes, the narrowest first.
var impersonationModes = []impersonationMode{
	{"associated-node", func(wanted *user.DefaultInfo, who user.Info) bool {
		_, _, err := serviceaccount.SplitUsername(who.GetName())
		node, is := nodeName(wanted.Name)
		return err == nil && is && nameOnly(wanted) && slices.Equal(who.GetExtra()[serviceaccount.NodeNameKey], []string{node})
	}},
	{"arbitrary-node", func(wanted *user.DefaultInfo, _ user.Info) bool {
		_, is := nodeName(wanted.Name)
		return is && nameOnly(wanted)
	}},
	{"serviceaccount", func(wanted *user.DefaultInfo, _ user.Info) bool {
		_, _, err := serviceaccount.SplitUsername(wanted.Name)
		return err == nil && nameOnly(wanted)
	}},
	{"user-info", func(wanted *user.DefaultInfo, _ user.Info) bool {
		_, _, err := serviceaccount.SplitUsername(wanted.Name)
		_, node := nodeName(wanted.Name)
		return err != nil && !node
	}},
	{"", func(*user.DefaultInfo, user.Info) bool { return true }},
}

func nameOnly(u *user.DefaultInfo) bool {
	return u.UID == "" && len(u.Groups) == 0 && len(u.Extra) == 0
}

func nodeName(username string) (string, bool) {
	name, is := strings.CutPrefix(username, "system:node:")
	return name, is && len(apivalidation.NameIsDNSSubdomain(name, false)) == 0
}

// impersonate acts as another user where the headers ask for it and one of the modes
// lets this user. Refused by all, the request fails as the narrowest that fits says.
func (x *exchange) impersonate() error {
	wanted, err := wantedUser(x.r.Header)
	if err != nil || wanted == nil {
		return err
	}
	var first error
	for _, mode := range impersonationModes {
		if !mode.fits(wanted, x.user) {
			continue
		}
		as, err := x.impersonateBy(mode, *wanted)
		if err == nil {
			x.user = as
			x.audit.Impersonate(as, mode.constraint())
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (m impersonationMode) constraint() string {
	if m.name == "" {
		return ""
	}
	return "impersonate:" + m.name
}

// wantedUser reads the headers and takes them away: nothing behind here is to know. The
// result is nil where there are none.
func wantedUser(header http.Header) (*user.DefaultInfo, error) {
	wanted := &user.DefaultInfo{
		Name: header.Get(authenticationv1.ImpersonateUserHeader), UID: header.Get(authenticationv1.ImpersonateUIDHeader),
		Groups: slices.Clone(header.Values(authenticationv1.ImpersonateGroupHeader)),
	}
	for name, values := range header {
		key, is := strings.CutPrefix(name, authenticationv1.ImpersonateUserExtraHeaderPrefix)
		if !is {
			continue
		}
		key = strings.ToLower(key)
		if unescaped, err := url.PathUnescape(key); err == nil {
			key = unescaped
		}
		if wanted.Extra == nil {
			wanted.Extra = map[string][]string{}
		}
		wanted.Extra[key] = append(wanted.Extra[key], values...)
		header.Del(name)
	}
	for _, name := range []string{authenticationv1.ImpersonateUserHeader, authenticationv1.ImpersonateUIDHeader, authenticationv1.ImpersonateGroupHeader} {
		header.Del(name)
	}
	switch {
	case wanted.Name != "":
		return wanted, nil
	case nameOnly(wanted):
		return nil, nil
	}
	return nil, apierrors.NewBadRequest(fmt.Sprintf("requested %#v without impersonating a user name", wanted))
}

// impersonateBy asks whether the user may in one mode, and returns who the user is then.
func (x *exchange) impersonateBy(mode impersonationMode, wanted user.DefaultInfo) (user.Info, error) {
	ask := impersonation{exchange: x, verb: "impersonate"}
	if mode.name != "" {
		a := x.attributes()
		a.Verb = "impersonate-on:" + mode.name + ":" + a.Verb
		if err := x.authorise(a); err != nil {
			return nil, err
		}
		ask.verb, ask.group, ask.constrained = mode.constraint(), authenticationv1.GroupName, true
	}
	groups, err := ask.name(mode, wanted.Name)
	if err != nil {
		return nil, err
	}
	if err := ask.rest(&wanted); err != nil {
		return nil, err
	}
	if len(wanted.Groups) == 0 {
		wanted.Groups = groups
	}
	switch {
	case wanted.Name == user.Anonymous:
		wanted.Groups = withGroup(wanted.Groups, user.AllUnauthenticated)
	case !slices.Contains(wanted.Groups, user.AllUnauthenticated):
		wanted.Groups = withGroup(wanted.Groups, user.AllAuthenticated)
	}
	return &wanted, nil
}

func withGroup(groups []string, group string) []string {
	if slices.Contains(groups, group) {
		return groups
	}
	return append(slices.Clip(groups), group)
}

// impersonation asks the authoriser about one verb.
type impersonation struct {
	*exchange
	verb string
	// group of users, groups, nodes and service accounts.
	group       string
	constrained bool
}

func (i impersonation) attributes(resource string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{User: i.user, Verb: i.verb, APIGroup: i.group, APIVersion: "v1", Resource: resource, ResourceRequest: true}
}

// name asks about the user's name, and returns the groups that follow from it.
func (i impersonation) name(mode impersonationMode, name string) (groups []string, err error) {
	a := i.attributes("users")
	a.Name = name
	if namespace, account, err := serviceaccount.SplitUsername(name); err == nil {
		a.Resource, a.Namespace, a.Name = "serviceaccounts", namespace, account
		groups = serviceaccount.MakeGroupNames(namespace)
	} else if node, is := nodeName(name); is && i.constrained {
		a.Resource, a.Name = "nodes", node
		if mode.name == "associated-node" {
			// It is the node that the user runs on, whichever that is.
			a.Name = "*"
		}
		groups = []string{user.NodesGroup}
	}
	return groups, i.authorise(a)
}

// rest asks about the user's UID, groups and extra fields.
func (i impersonation) rest(wanted *user.DefaultInfo) error {
	if wanted.UID != "" {
		a := i.attributes("uids")
		a.APIGroup, a.Name = authenticationv1.GroupName, wanted.UID
		if err := i.authorise(a); err != nil {
			return err
		}
	}
	a := i.attributes("groups")
	for _, group := range wanted.Groups {
		if i.constrained && group == "" {
			return forbidden(a, "impersonating the empty string group is not allowed")
		}
		if i.constrained && group == user.SystemPrivilegedGroup {
			a.Name = group
			return forbidden(a, "impersonating the system:masters group is not allowed")
		}
	}
	for _, group := range wanted.Groups {
		a.Name = group
		if err := i.authorise(a); err != nil {
			return err
		}
	}
	return i.extra(wanted.Extra)
}

func (i impersonation) extra(extra map[string][]string) error {
	a := i.attributes("userextras")
	a.APIGroup = authenticationv1.GroupName
	if i.constrained {
		for key, values := range extra {
			if why := badExtra(key, values); why != "" {
				return forbidden(a, why)
			}
		}
	}
	for key, values := range extra {
		a.Subresource = key
		for _, value := range values {
			a.Name = value
			if err := i.authorise(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// badExtra says why an extra field is not impersonated by a constrained mode.
func badExtra(key string, values []string) string {
	switch errs := validation.IsDomainPrefixedPath(field.NewPath("extra", "key"), key); {
	case key == "":
		return "impersonating the empty string key in extra is not allowed"
	case len(errs) > 0:
		return "impersonating an invalid key in extra is not allowed: " + errs.ToAggregate().Error()
	case key != strings.ToLower(key):
		return fmt.Sprintf("impersonating a non-lowercase key in extra is not allowed: %q", key)
	case len(values) == 0:
		return "impersonating empty values in extra is not allowed"
	case slices.Contains(values, ""):
		return "impersonating the empty string value in extra is not allowed"
	}
	return ""
}
