package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// maxTrustBundle is the most that a bundle may hold, in bytes of PEM.
const maxTrustBundle = 1 << 20

func trustBundles() *resource.Resource {
	return &resource.Resource{
		GVK:        gvk("ClusterTrustBundle"),
		StoredForm: &resource.StoredForm{Version: "v1beta1"},
		Plural:     "clustertrustbundles", Singular: "clustertrustbundle", StoragePrefix: "clustertrustbundles",
		New: typed.New[certificatesv1.ClusterTrustBundle], NewList: typed.New[certificatesv1.ClusterTrustBundleList],
		Strategy: resource.Strategy{
			Validate: typed.Validate(func(b *certificatesv1.ClusterTrustBundle) field.ErrorList { return validateBundle(b, true) }),
			// A bundle that does not change is not parsed again: another version of
			// Go may think otherwise of it.
			ValidateChange: typed.Change(func(b, old *certificatesv1.ClusterTrustBundle) field.ErrorList {
				errs := validateBundle(b, b.Spec.TrustBundle != old.Spec.TrustBundle)
				return append(errs, rules.Immutable(b.Spec.SignerName, old.Spec.SignerName, field.NewPath("spec", "signerName"))...)
			}),
			// Which names are right depends on the signer: see validateBundle.
			NameError: func(string, bool) []string { return nil },
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("SignerName", certificatesv1.ClusterTrustBundleSpec{}.SwaggerDoc()["signerName"]),
			},
			Cells: typed.Cells(func(b *certificatesv1.ClusterTrustBundle, _ time.Time) []any {
				return []any{b.Name, columns.None(b.Spec.SignerName)}
			}),
		},
		SelectableFields: typed.Fields(func(b *certificatesv1.ClusterTrustBundle) fields.Set {
			return fields.Set{"spec.signerName": b.Spec.SignerName}
		}),
	}
}

func validateBundle(b *certificatesv1.ClusterTrustBundle, parse bool) field.ErrorList {
	errs := rules.Matches(b.Name, field.NewPath("metadata", "name"), rules.TrustBundleName(b.Name, b.Spec.SignerName))
	if b.Spec.SignerName != "" {
		errs = append(errs, rules.SignerName(b.Spec.SignerName, field.NewPath("spec", "signerName"))...)
	}
	if parse {
		errs = append(errs, validateAnchors(b.Spec.TrustBundle, field.NewPath("spec", "trustBundle"))...)
	}
	return errs
}

// validateAnchors: a bundle is certificates of authorities, each once.
func validateAnchors(bundle string, path *field.Path) field.ErrorList {
	if len(bundle) > maxTrustBundle {
		return field.ErrorList{field.TooLong(path, "", maxTrustBundle)}
	}
	var errs field.ErrorList
	var anchors [][]byte
	for i, rest := 0, []byte(bundle); ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if wrong := anchorError(block); wrong != "" {
			errs = append(errs, field.Invalid(path, "<value omitted>", fmt.Sprintf("entry %d %s", i, wrong)))
		}
		anchors = append(anchors, block.Bytes)
	}
	if len(errs) > 0 {
		return errs
	}
	if len(anchors) == 0 {
		return field.ErrorList{field.Invalid(path, "<value omitted>", "at least one trust anchor must be provided")}
	}
	places := map[string][]int{}
	for i, a := range anchors {
		places[string(a)] = append(places[string(a)], i)
	}
	for i, a := range anchors {
		if at := places[string(a)]; len(at) > 1 && at[0] == i {
			errs = append(errs, field.Invalid(path, "<value omitted>", fmt.Sprintf("duplicate trust anchor (indices %v)", at)))
		}
	}
	return errs
}

func anchorError(block *pem.Block) string {
	switch {
	case block.Type != "CERTIFICATE":
		return "has bad block type: " + block.Type
	case len(block.Headers) > 0:
		return "has PEM block headers"
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "does not parse as X.509"
	case !certificate.IsCA:
		return "does not have the CA bit set"
	case !certificate.BasicConstraintsValid:
		return "has invalid basic constraints"
	}
	return ""
}
