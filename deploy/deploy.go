// Package deploy holds what an installation consists of beside the programs: systemd
// units, the front of api, and the script that lays them where they belong.
package deploy

import _ "embed"

// What a host that joins by the script of modules/api/join gets.
var (
	//go:embed systemd/falcon-agent.service
	AgentUnit string
	//go:embed systemd/falcon.target
	Target string
)
