package identity

import (
	"fmt"
	"io"
	"strings"
)

// CodeLength is the number of characters of a pathway code.
const CodeLength = 7

// codeSymbols are the characters of a pathway code: neither vowels, so that no
// word comes out, nor characters that are mistaken for one another.
const codeSymbols = "bcdfghjkmnpqrstvwxz23456789"

// A code is a word v of seven numbers below 27 with
//
//	1·v[0] + 2·v[1] + … + 7·v[6] ≡ 0 (mod 29).
//
// 29 is a prime above both the number of symbols and the weights. Changing one
// character moves the sum by weight × difference, swapping two by difference
// of weights × difference of values: neither is a multiple of 29, so neither
// change gives another code, wherever the two swapped characters stand. (No
// weighted sum modulo 27, the number of symbols, can do that for every two
// places.) The price is that 2 draws in 29 have no check character; they are
// drawn again.
const codeModulus = 29

// NewCode draws a pathway code from random. It fails only as random does.
func NewCode(random io.Reader) (string, error) {
	var code [CodeLength]byte
	for {
		sum := 0
		for i := range CodeLength - 1 {
			v, err := drawSymbol(random)
			if err != nil {
				return "", fmt.Errorf("drawing a pathway code: %w", err)
			}
			code[i] = codeSymbols[v]
			sum += (i + 1) * v
		}
		for v := range codeSymbols {
			if (sum+CodeLength*v)%codeModulus == 0 {
				code[CodeLength-1] = codeSymbols[v]
				return string(code[:]), nil
			}
		}
	}
}

// drawSymbol draws a number below len(codeSymbols), each as likely as another.
func drawSymbol(random io.Reader) (int, error) {
	const n = len(codeSymbols)
	var b [1]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, err
		}
		if v := int(b[0]); v < 256/n*n {
			return v % n, nil
		}
	}
}

// CheckCode reports whether s, in lower case, is a pathway code.
func CheckCode(s string) bool {
	if len(s) != CodeLength {
		return false
	}
	sum := 0
	for i := range CodeLength {
		v := strings.IndexByte(codeSymbols, s[i])
		if v < 0 {
			return false
		}
		sum += (i + 1) * v
	}
	return sum%codeModulus == 0
}
