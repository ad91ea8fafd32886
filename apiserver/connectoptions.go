package apiserver

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
)

// connectOptions fills the options of a connection from the request's URL: each
// field from the parameter of its JSON name, and path from what follows the
// sub-resource in the path.
func connectOptions(into runtime.Object, req resource.Request) (runtime.Object, error) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return into, nil
	}
	v = v.Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		field := v.Field(i)
		if name == "" || !field.CanSet() {
			continue
		}
		if name == "path" && field.Kind() == reflect.String && req.Path != "" {
			field.SetString(req.Path)
			continue
		}
		if err := setParameter(field, name, req.Query); err != nil {
			return nil, err
		}
	}
	return into, nil
}

// setParameter sets a field of one of the types that options have; others stay as
// they are.
func setParameter(field reflect.Value, name string, query url.Values) error {
	values := query[name]
	if len(values) == 0 {
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(values[0])
	case reflect.Bool:
		text := strings.ToLower(values[0])
		field.SetBool(text != "false" && text != "0")
	case reflect.Slice:
		return setParameters(field, name, values)
	}
	return nil
}

func setParameters(field reflect.Value, name string, values []string) error {
	switch field.Type().Elem().Kind() {
	case reflect.String:
		field.Set(reflect.ValueOf(append([]string(nil), values...)).Convert(field.Type()))
	case reflect.Int32:
		numbers := make([]int32, 0, len(values))
		for _, v := range values {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				return apierrors.NewBadRequest(fmt.Sprintf("invalid parameter %s: %v", name, err))
			}
			numbers = append(numbers, int32(n))
		}
		field.Set(reflect.ValueOf(numbers).Convert(field.Type()))
	}
	return nil
}
