package configs

import (
	"reflect"
	"strings"
)

// Differs lists the settings that have another value in other, as they are named
// in the file: "domain", "imap.listen"; of sections that may come several times
// only their name.
func (c *Config) Differs(other *Config) []string {
	return differences("", reflect.ValueOf(*c), reflect.ValueOf(*other))
}

func differences(section string, a, b reflect.Value) (names []string) {
	for i := range a.NumField() {
		key, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("toml"), ",")
		if key == "" || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		if section == "" && a.Field(i).Kind() == reflect.Struct {
			names = append(names, differences(key+".", a.Field(i), b.Field(i))...)
			continue
		}
		names = append(names, section+key)
	}
	return names
}
