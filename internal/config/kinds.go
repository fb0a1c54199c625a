package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A kind reads one sort of value. The errors of parse are problem texts: they go on
// from "NAME=value" and never repeat the value, which may be secret.
type kind[T any] struct {
	allowed     string
	secret      bool // the value is never shown
	list        bool // items with commas between them
	credentials bool // a refused value may hold a password, where none belongs
	parse       func(text string) (T, error)
}

var errRange = errors.New("is out of range")

// option is one of the values of a choice.
type option[T any] struct {
	text  string
	value T
}

// choice accepts the texts of its options, in upper or lower case.
func choice[T any](options ...option[T]) kind[T] {
	var texts []string
	for _, o := range options {
		texts = append(texts, o.text)
	}
	return kind[T]{
		allowed: strings.Join(texts, ", "),
		parse: func(text string) (value T, err error) {
			for _, o := range options {
				if strings.EqualFold(o.text, text) {
					return o.value, nil
				}
			}
			return value, errors.New("is not one of the choices")
		},
	}
}

func flag() kind[bool] {
	return choice(option[bool]{"0", false}, option[bool]{"1", true},
		option[bool]{"false", false}, option[bool]{"true", true})
}

func wholeNumber(least, most int) kind[int] {
	return kind[int]{
		allowed: fmt.Sprintf("%d to %d", least, most),
		parse: func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			switch {
			case errors.Is(err, strconv.ErrRange):
				return 0, errRange
			case err != nil:
				return 0, errors.New("is not a whole number")
			case n < least || n > most:
				return 0, errRange
			}
			return n, nil
		},
	}
}

// seconds accepts whole seconds without a unit.
func seconds(least, most int) kind[time.Duration] {
	number := wholeNumber(least, most)
	return kind[time.Duration]{
		allowed: number.allowed + " (seconds)",
		parse: func(text string) (time.Duration, error) {
			n, err := number.parse(text)
			return time.Duration(n) * time.Second, err
		},
	}
}

// duration accepts Go's notation (1m30s) and plain whole seconds.
func duration(least, most time.Duration) kind[time.Duration] {
	return kind[time.Duration]{
		allowed: durationText(least) + " to " + durationText(most) + ", written like 500ms, 30s or 1h30m (a plain number is seconds)",
		parse: func(text string) (time.Duration, error) {
			if _, err := strconv.ParseUint(text, 10, 64); !errors.Is(err, strconv.ErrSyntax) {
				text += "s"
			}
			d, err := time.ParseDuration(text)
			switch {
			case err != nil:
				return 0, errors.New("is not a duration")
			case d < least || d > most:
				return 0, errRange
			}
			return d, nil
		},
	}
}

// durationText writes a duration without the zero units that its String method adds.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Sizes in bytes.
const (
	kib int64 = 1 << 10
	mib int64 = 1 << 20
	gib int64 = 1 << 30
	tib int64 = 1 << 40
)

func sizeUnits() []option[int64] {
	return []option[int64]{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}}
}

// SizeText writes a size as a configuration has it, in the largest unit that leaves no remainder.
func SizeText(n int64) string {
	for _, unit := range sizeUnits() {
		if n >= unit.value && n%unit.value == 0 {
			return strconv.FormatInt(n/unit.value, 10) + unit.text
		}
	}
	return strconv.FormatInt(n, 10)
}

// size accepts bytes, and whole numbers of the binary units. Decimal units are refused
// rather than guessed at: half the world writes MB for MiB.
func size(least, most int64) kind[int64] {
	return kind[int64]{
		allowed: fmt.Sprintf("%s to %s, in bytes or with KiB, MiB, GiB or TiB", SizeText(least), SizeText(most)),
		parse: func(text string) (int64, error) {
			digits, unit := text, int64(1)
			for _, u := range sizeUnits() {
				if number, ok := strings.CutSuffix(text, u.text); ok {
					digits, unit = strings.TrimSpace(number), u.value
				}
			}
			n, err := strconv.ParseUint(digits, 10, 63)
			switch {
			case err != nil && !errors.Is(err, strconv.ErrRange):
				return 0, errors.New("is not a size")
			case err != nil || int64(n) > most/unit || int64(n)*unit < least:
				return 0, errRange
			}
			return int64(n) * unit, nil
		},
	}
}
