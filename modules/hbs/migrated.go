package hbs

import (
	"context"
	"sync"

	"falcon/common/portal"
)

// Migrated returns db as a Portal that is brought to its schema before the first
// statement, so that an hbs starts while its database is away.
func Migrated(db *portal.DB) Portal { return &migrated{db: db} }

type migrated struct {
	db    *portal.DB
	mu    sync.Mutex
	ready bool
}

func (m *migrated) RuleRows(ctx context.Context) (*portal.RuleRows, error) {
	if err := m.migrate(ctx); err != nil {
		return nil, err
	}
	return m.db.RuleRows(ctx)
}

func (m *migrated) SaveHosts(ctx context.Context, reports []portal.HostReport, join string, only bool) ([]string, error) {
	if err := m.migrate(ctx); err != nil {
		return nil, err
	}
	return m.db.SaveHosts(ctx, reports, join, only)
}

func (m *migrated) SaveHostAgents(ctx context.Context, agents []portal.HostAgent) error {
	if err := m.migrate(ctx); err != nil {
		return err
	}
	return m.db.SaveHostAgents(ctx, agents)
}

func (m *migrated) HostAgents(ctx context.Context, names []string) (map[string]portal.HostAgent, error) {
	if err := m.migrate(ctx); err != nil {
		return nil, err
	}
	return m.db.HostAgents(ctx, names)
}

func (m *migrated) migrate(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready {
		return nil
	}
	err := m.db.Migrate(ctx)
	m.ready = err == nil
	return err
}
