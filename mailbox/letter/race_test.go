//go:build race

package letter

// slowness is how much longer things may take under the race detector.
const slowness = 10
