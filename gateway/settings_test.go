package gateway

import (
	"reflect"
	"slices"
	"testing"

	"github.com/relais-sante/relais/configs"
)

// Whatever a peer or the sender of a mail may choose is bounded by a setting, in
// the defaults too.
func TestLimitsAreSettings(t *testing.T) {
	c := new(configs.Config)
	sevens(reflect.ValueOf(&c.Inbound).Elem())
	sevens(reflect.ValueOf(&c.Limits).Elem())
	for _, tt := range []struct {
		limits any
		fixed  []string // what is the program's own affair
	}{
		{limits(c), []string{"Write", "Slow", "Linger"}},
		{reading(&c.Limits), []string{"ReportBytes"}},
		{archives(&c.Limits), nil},
	} {
		v := reflect.ValueOf(tt.limits)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() != slices.Contains(tt.fixed, name) {
				t.Errorf("%s.%s is not as the settings say", v.Type(), name)
			}
		}
	}
}

// sevens sets every number to 7.
func sevens(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() {
			f.SetInt(7)
		}
	}
}
