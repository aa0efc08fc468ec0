//go:build !race

package letter

const slowness = 1
