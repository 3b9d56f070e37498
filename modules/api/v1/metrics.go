package v1

import (
	"bufio"
	"bytes"
	_ "embed"
	"os"
)

// baseMetrics are the metrics that every agent reports, a line each.
//
//go:embed metrics.txt
var baseMetrics []byte

// defaultMetrics lists metrics for forms: those of the operator's file, read again
// each time, else those of the agent.
func (s *server) defaultMetrics(*Call) (any, error) {
	text := baseMetrics
	if s.MetricListFile != "" {
		var err error
		if text, err = os.ReadFile(s.MetricListFile); err != nil {
			s.Log.Warn("metric_list_file not read, the agent's metrics are listed", "err", err)
			text = baseMetrics
		}
	}
	names := []string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			names = append(names, string(line))
		}
	}
	return names, lines.Err()
}
