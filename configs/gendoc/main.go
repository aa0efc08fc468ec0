// Command gendoc writes docs/configuration.md from the structs of package
// configs. It is run by "go generate ./configs".
package main

import (
	"log"
	"os"

	"github.com/relais-sante/relais/configs"
)

func main() {
	if err := os.WriteFile("../docs/configuration.md", configs.Reference(), 0o644); err != nil {
		log.Fatal(err)
	}
}
