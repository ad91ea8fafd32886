package podspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// Each kind of volume, in upstream's words.
func TestValidateVolumes(t *testing.T) {
	const long = "x234567890123456789012345678901234567890123456789012345678901234"
	for _, test := range []struct {
		volume string
		want   []string
	}{
		{`{name: a, emptyDir: {}, configMap: {name: x}}`, []string{`volumes[0].configMap: Forbidden: may not specify more than 1 volume type`}},
		{`{name: a, hostPath: {path: /a/../b, type: Pipe}}`, []string{
			`volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`volumes[0].hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`}},
		{`{name: a, nfs: {server: s, path: ..}, cephfs: {monitors: [m]}, downwardAPI: {}}`, []string{
			`volumes[0].nfs.path: Invalid value: "..": must be an absolute path`,
			`volumes[0].cephFS: Forbidden: may not specify more than 1 volume type`,
			`volumes[0].downwarAPI: Forbidden: may not specify more than 1 volume type`}},
		{`{name: a, gcePersistentDisk: {partition: 256}}`, []string{
			`volumes[0].persistentDisk.pdName: Required value`,
			`volumes[0].persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive`}},
		{`{name: a, iscsi: {targetPortal: p, iqn: iqn.x, lun: 300, chapAuthSession: true, initiatorName: none}}`, []string{
			`volumes[0].iscsi.iqn: Invalid value: "iqn.x": must be valid format`,
			`volumes[0].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive`,
			`volumes[0].iscsi.secretRef: Required value`,
			`volumes[0].iscsi.initiatorname: Invalid value: "none": must be valid format starting with iqn, eui, or naa`}},
		{`{name: a, fc: {targetWWNs: [a], wwids: [b]}}`, []string{
			`volumes[0].fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously`,
			`volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified`}},
		{`{name: a, quobyte: {registry: "x,y:1", volume: v}}`, []string{`volumes[0].quobyte.registry: Invalid value: "x,y:1": must be a host:port pair or multiple pairs separated by commas`}},
		{`{name: a, flocker: {datasetName: a/b}}`, []string{`volumes[0].flocker.datasetName: Invalid value: "a/b": must not contain '/'`}},
		{`{name: a, flexVolume: {driver: d, options: {k8s.io/x: ""}}}`, []string{`volumes[0].flexVolume.options[k8s.io/x]: Invalid value: "k8s.io/x": kubernetes.io and k8s.io namespaces are reserved`}},
		{`{name: a, azureDisk: {diskName: d, diskURI: x, kind: Managed}}`, []string{
			`volumes[0].azureDisk.diskURI: Unsupported value: "x": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"`}},
		{`{name: a, csi: {driver: ` + long + `}}`, []string{`volumes[0].csi.driver: Too long: may not be more than 63 bytes`}},
		{`{name: a, persistentVolumeClaim: {claimName: pod-e}}`, []string{`volumes[0].persistentVolumeClaim.claimName: Invalid value: "pod-e": must not reference a PVC that gets created for an ephemeral volume`}},
		{`{name: a, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: {name: c, items: [{key: k, path: p}]}}]}}`, []string{
			`volumes[0].projected: Invalid value: "c": conflicting duplicate paths`}},
		{`{name: a, projected: {sources: [{serviceAccountToken: {expirationSeconds: 1}, downwardAPI: {}}]}}`, []string{
			`volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes`,
			`volumes[0].projected.path: Required value`,
			`volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source`}},
		{`{name: a, projected: {sources: [{clusterTrustBundle: {name: "a:b:c", path: p, labelSelector: {}}}]}}`, []string{
			`volumes[0].projected.sources[0].clusterTrustBundle.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified`}},
		{`{name: a, projected: {sources: [{podCertificate: {signerName: kubernetes.io/x, keyType: RSA, maxExpirationSeconds: 100000}}]}}`, []string{
			`volumes[0].projected.sources[0].podCertificate.keyType: Unsupported value: "RSA": supported values: "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"`,
			`volumes[0].projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 100000: if provided, maxExpirationSeconds must be <= 86400`,
			`volumes[0].projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath`}},
	} {
		var v corev1.Volume
		if err := yaml.UnmarshalStrict([]byte(test.volume), &v); err != nil {
			t.Fatal(test.volume, err)
		}
		made := corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
		_, errs := validateVolumes([]corev1.Volume{v, made}, "pod", field.NewPath("volumes"))
		var got []string
		for _, e := range errs[:len(errs)-1] { // the last is of the ephemeral volume
			got = append(got, e.Error())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.volume, diff)
		}
	}
}

func TestWindowsUser(t *testing.T) {
	for name, want := range map[string]string{
		"a":     "",
		`d.x\a`: "",
		"":      "runAsUserName cannot be an empty string",
		`a\b\c`: "runAsUserName cannot contain more than one backslash",
		`d\`:    "runAsUserName's User cannot be empty",
		`?\a`:   "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
		". .":   "runAsUserName's User cannot contain only periods or spaces",
		"a:b":   `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`,
		"a\tb":  "runAsUserName cannot contain control characters",
	} {
		if got := strings.Join(windowsUser(name), "; "); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// What the whole pod may take follows from its containers.
func TestDefaultPodResources(t *testing.T) {
	for _, test := range []struct{ pod, container, want string }{
		{`{limits: {cpu: "2"}}`, `{}`, `{limits: {cpu: "2"}, requests: {cpu: "2"}}`},
		{`{limits: {cpu: "2"}}`, `{requests: {cpu: "1"}}`, `{limits: {cpu: "2"}, requests: {cpu: "1"}}`},
		{`{requests: {cpu: "1"}}`, `{limits: {cpu: "3", memory: 1Gi}, requests: {memory: 1Gi}}`, `{requests: {cpu: "1", memory: 1Gi}, limits: {cpu: "3", memory: 1Gi}}`},
		{`{requests: {cpu: "5"}}`, `{limits: {cpu: "3"}}`, `{requests: {cpu: "5"}, limits: {cpu: "5"}}`},
		{`{requests: {cpu: "1"}}`, `{limits: {hugepages-2Mi: 2Mi}, requests: {hugepages-2Mi: 2Mi}}`, `{requests: {cpu: "1", hugepages-2Mi: 2Mi}, limits: {hugepages-2Mi: 2Mi}}`},
	} {
		read := func(text string) *corev1.ResourceRequirements {
			r := &corev1.ResourceRequirements{}
			if err := yaml.UnmarshalStrict([]byte(text), r); err != nil {
				t.Fatal(err)
			}
			return r
		}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Resources: read(test.pod), Containers: []corev1.Container{{Resources: *read(test.container)}}}}
		DefaultPodResources(pod)
		if diff := cmp.Diff(read(test.want), pod.Spec.Resources); diff != "" {
			t.Errorf("%s with %s (-want +got):\n%s", test.pod, test.container, diff)
		}
	}
}

func TestOverlapWarnings(t *testing.T) {
	pod := good()
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "c", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Items: []corev1.KeyToPath{{Path: "a"}, {Path: "a/b"}, {Path: "ab"}},
		}}},
		{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}},
			{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Name: ptr.To("n"), Path: "t/"}},
		}}}},
	}
	want := []string{
		`volume "c" (ConfigMap "m"): overlapping paths: "a/b" with "a"`,
		`volume "p" (Projected) has no sources provided`,
		`volume "p" (Projected): overlapping paths: "t" (ClusterTrustBundle "n") with "t" (ServiceAccountToken)`,
	}
	if diff := cmp.Diff(want, PodWarnings(pod)); diff != "" {
		t.Error(diff)
	}
}
