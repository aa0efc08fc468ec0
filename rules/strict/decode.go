package strict

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxBytes bounds a file. Those that people write are a hundred times smaller.
const MaxBytes = 1 << 20

// Unmarshaler is implemented by settings that are written in more than one
// form; v is what TOML gave: string, int64, bool, float64, []any, map[string]any.
type Unmarshaler interface{ UnmarshalValue(v any) error }

// Decode reads src into the struct that into points at, after setting what its
// `default` tags say, and checks it against `enum`, `min` and `max` tags. Lines
// that cannot be understood are left out of it, so it must not be used if any
// problem is [Fatal].
func Decode(file string, src []byte, into any) (*Document, []Problem) {
	empty := &Document{file: file, root: newNode(0)}
	target := reflect.ValueOf(into).Elem()
	if len(src) > MaxBytes {
		return empty, []Problem{{File: file, ID: tooLarge, Args: map[string]any{"limit": MaxBytes >> 10}}}
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")) // as some editors begin a file
	var values map[string]any
	if err := toml.Unmarshal(src, &values); err != nil {
		p := Problem{File: file, ID: syntax, Args: map[string]any{"error": strings.TrimPrefix(err.Error(), "toml: ")}}
		var where *toml.DecodeError
		if errors.As(err, &where) {
			p.Line, p.Column = where.Position()
		}
		return empty, []Problem{p}
	}
	d := &decoder{Document: index(file, src)}
	setDefaults(target)
	d.table(values, target, nil)
	Sort(d.problems)
	return d.Document, d.problems
}

// decoder gathers the problems of one file.
type decoder struct {
	*Document
	problems []Problem
}

func (d *decoder) problem(id TextID, path []any, extra ...any) {
	args := map[string]any{"key": Key(path...)}
	for i := 0; i+1 < len(extra); i += 2 {
		args[extra[i].(string)] = extra[i+1]
	}
	d.problems = append(d.problems, d.Problem(id, args, path...))
}

// Key writes a path as people do: inbound.listen, rule.when.
func Key(path ...any) string {
	var keys []string
	for _, step := range path {
		if key, ok := step.(string); ok {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, ".")
}

func (d *decoder) table(values map[string]any, into reflect.Value, path []any) {
	known := map[string]int{}
	var names []string
	for i := range into.NumField() {
		if name := into.Type().Field(i).Tag.Get("toml"); name != "" {
			known[name] = i
			names = append(names, name)
		}
	}
	for key, value := range values {
		at := append(slices.Clip(path), key)
		i, ok := known[key]
		if !ok {
			d.problem(unknownKey, at, "allowed", strings.Join(names, ", "))
			continue
		}
		before := len(d.problems)
		d.value(value, into.Field(i), at)
		if len(d.problems) == before {
			d.bounds(into.Field(i), into.Type().Field(i).Tag, at)
		}
	}
}

// bounds checks what the field's `enum`, `min` and `max` tags say.
func (d *decoder) bounds(v reflect.Value, tag reflect.StructTag, path []any) {
	if allowed, ok := tag.Lookup("enum"); ok && !slices.Contains(strings.Split(allowed, ","), v.String()) {
		d.problem(NotAllowed, path, "value", v.String(), "allowed", strings.ReplaceAll(allowed, ",", ", "))
	}
	for _, b := range []struct {
		tag  string
		id   TextID
		sign int64
	}{{"min", tooSmall, 1}, {"max", tooBig, -1}} {
		text, ok := tag.Lookup(b.tag)
		if !ok {
			continue
		}
		values := []reflect.Value{v}
		if v.Kind() == reflect.Slice { // of each of its values
			values = nil
			for i := range v.Len() {
				values = append(values, v.Index(i))
			}
		}
		for _, value := range values {
			bound := reflect.New(value.Type()).Elem()
			if err := setText(bound, text); err != nil {
				panic(fmt.Sprintf("strict: bound of %s: %v", Key(path...), err))
			}
			if b.sign*value.Int() < b.sign*bound.Int() {
				d.problem(b.id, path, "bound", text)
			}
		}
	}
}

func (d *decoder) value(value any, into reflect.Value, path []any) {
	switch u := into.Addr().Interface().(type) {
	case Unmarshaler:
		d.understand(u.UnmarshalValue(value), path)
		return
	case encoding.TextUnmarshaler:
		text, ok := value.(string)
		if !ok {
			d.problem(notText, path)
			return
		}
		d.understand(u.UnmarshalText([]byte(text)), path)
		return
	}
	switch into.Kind() {
	case reflect.String:
		if text, ok := value.(string); ok {
			into.SetString(text)
		} else {
			d.problem(notText, path)
		}
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			into.SetBool(b)
		} else {
			d.problem(notBool, path)
		}
	case reflect.Int, reflect.Int64:
		if n, ok := value.(int64); ok {
			into.SetInt(n)
		} else {
			d.problem(notNumber, path)
		}
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			d.problem(notList, path)
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, item := range list {
			setDefaults(into.Index(i))
			d.value(item, into.Index(i), append(slices.Clip(path), i))
		}
	case reflect.Struct:
		if fields, ok := value.(map[string]any); ok {
			d.table(fields, into, path)
		} else {
			d.problem(notTable, path)
		}
	default:
		panic(fmt.Sprintf("strict: %s cannot be read from a file", into.Type()))
	}
}

func (d *decoder) understand(err error, path []any) {
	if err == nil {
		return
	}
	var fault *Fault
	if errors.As(err, &fault) {
		args := map[string]any{"key": Key(path...)}
		for k, v := range fault.Args {
			args[k] = v
		}
		d.problems = append(d.problems, d.Problem(fault.ID, args, path...))
		return
	}
	d.problem(badValue, path, "error", err.Error())
}

// Defaults sets the fields of the struct that into points at to what their
// `default` tags say; lists are written with commas.
func Defaults(into any) { setDefaults(reflect.ValueOf(into).Elem()) }

// setDefaults panics on a tag that cannot be read: a defect of the program,
// which any test that decodes an empty file meets.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		if !field.CanSet() {
			continue
		}
		text, ok := tag.Lookup("default")
		if !ok {
			if _, own := field.Addr().Interface().(encoding.TextUnmarshaler); !own {
				setDefaults(field)
			}
			continue
		}
		if err := setText(field, text); err != nil {
			panic(fmt.Sprintf("strict: default of %s: %v", v.Type().Field(i).Name, err))
		}
	}
}

func setText(v reflect.Value, text string) error {
	switch u := v.Addr().Interface().(type) {
	case Unmarshaler:
		return u.UnmarshalValue(text)
	case encoding.TextUnmarshaler:
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
		return err
	case reflect.Slice:
		for item := range strings.SplitSeq(text, ",") {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			if err := setText(v.Index(v.Len()-1), strings.TrimSpace(item)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s has no text form", v.Type())
	}
	return nil
}
