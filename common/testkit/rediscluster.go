package testkit

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A RedisCluster is the redis-servers of one test: masters with a part of the slots
// each, and a replica of each of them.
type RedisCluster struct {
	// Nodes are the masters, in the order of their slots, and then their replicas in
	// the same order. Who is master changes when one is killed.
	Nodes []*RedisNode
	t     testing.TB
}

// A RedisNode is a redis-server of a cluster.
type RedisNode struct {
	Addr string // host:port on the loopback
	ID   string // its name in the cluster
	bus  string // where the other nodes speak with it
	dir  string
	proc *Process
	t    testing.TB
}

// NewRedisCluster starts masters at loopback ports and, when it is asked to, a replica
// of each, all empty; they end with the test. Nothing is kept on disk. A master that is
// silent for two seconds is replaced. at are the addresses of the first nodes, for tests
// that have a network of their own. The test is skipped when Redis is not installed.
func NewRedisCluster(t testing.TB, masters int, replicas bool, at ...string) *RedisCluster {
	t.Helper()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: run scripts/services.sh up, or make test", program)
		}
	}
	c := &RedisCluster{t: t}
	n := masters
	if replicas {
		n *= 2
	}
	for i := range n {
		addr := ""
		if i < len(at) {
			addr = at[i]
		}
		c.Nodes = append(c.Nodes, startRedisNode(t, addr))
	}
	first := c.Nodes[0]
	for i, n := range c.Nodes {
		if i > 0 {
			first.Must("CLUSTER", "MEET", "127.0.0.1", port(n.Addr), port(n.bus))
		}
		if i < masters {
			n.Must("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(16384*i/masters), strconv.Itoa(16384*(i+1)/masters-1))
		}
	}
	for i, n := range c.Nodes[masters:] {
		Eventually(t, 20*time.Second, func() error {
			_, err := n.Do("CLUSTER", "REPLICATE", c.Nodes[i].ID) // it has to hear of its master first
			return err
		})
	}
	for i, n := range c.Nodes {
		Eventually(t, 20*time.Second, func() error {
			info, err := n.Do("CLUSTER", "INFO")
			if err == nil && !(strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.Nodes)))) {
				err = fmt.Errorf("%s is not ready: %s", n.Addr, info)
			}
			if err == nil && replicas && i < masters {
				_, err = n.replicated()
			}
			return err
		})
	}
	return c
}

// Replicated waits until the replica of a master has all that the master was told.
func (n *RedisNode) Replicated() {
	n.t.Helper()
	Eventually(n.t, 20*time.Second, func() error {
		all, err := n.replicated()
		if err == nil && !all {
			err = fmt.Errorf("the replica of %s lags behind", n.Addr)
		}
		return err
	})
}

// replicated reports whether the replica of a master has all that the master was told. It
// is an error when there is none that is told each thing at once: one may have taken what
// there was, and be sent the rest only after it has said so.
func (n *RedisNode) replicated() (all bool, err error) {
	info, err := n.Do("INFO", "replication")
	if err != nil {
		return false, err
	}
	var has, told int
	for line := range strings.Lines(info) {
		line = strings.TrimSpace(line)
		if _, rest, ok := strings.Cut(line, "state=online,offset="); ok {
			at, _, _ := strings.Cut(rest, ",")
			has, err = strconv.Atoi(at)
		} else if rest, ok := strings.CutPrefix(line, "master_repl_offset:"); ok {
			told, err = strconv.Atoi(rest)
		}
		if err != nil {
			return false, fmt.Errorf("%s on replication: %w", n.Addr, err)
		}
	}
	if !strings.Contains(info, "state=online,offset=") {
		return false, fmt.Errorf("%s has no replica that follows: %s", n.Addr, info)
	}
	return has >= told, nil
}

// startRedisNode starts an empty server, at an address of its own unless one is given.
// Nodes speak with each other at another port; some process may take either at any time.
func startRedisNode(t testing.TB, at string) *RedisNode {
	t.Helper()
	var err error
	for range 5 {
		n := &RedisNode{Addr: cmp.Or(at, FreeAddr(t)), bus: FreeAddr(t), dir: t.TempDir(), t: t}
		if err = n.start(); err == nil {
			return n
		}
		n.proc.Kill()
	}
	t.Fatal(err)
	return nil
}

// start starts the server and waits until it answers.
func (n *RedisNode) start() (err error) {
	n.proc = Start(n.t, n.dir, "redis-server", "--port", port(n.Addr), "--cluster-port", port(n.bus), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
		"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if n.ID, err = n.Do("CLUSTER", "MYID"); err == nil {
			return nil
		}
		select {
		case <-n.proc.done:
			return fmt.Errorf("redis-server at %s ended: %s", n.Addr, n.proc.Output())
		case <-tick.C:
		}
	}
	return err
}

func port(addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	return port
}

// Do runs a command on the node itself and returns what redis-cli prints of the answer.
func (n *RedisNode) Do(args ...string) (string, error) {
	cmd := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", port(n.Addr), "-e"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	answer := strings.TrimSuffix(string(out), "\n")
	if err != nil {
		return "", fmt.Errorf("redis %s: %v: %w: %s", n.Addr, args, err, answer)
	}
	return answer, nil
}

// Must is Do for what must do.
func (n *RedisNode) Must(args ...string) string {
	n.t.Helper()
	answer, err := n.Do(args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer
}

// Kill ends the node; its memory is lost.
func (n *RedisNode) Kill() { n.proc.Kill() }

// Pause stops the node, which then answers nobody, and returns what lets it go on.
func (n *RedisNode) Pause() (resume func()) { return n.proc.Pause() }

// Start starts the node again, empty, under its old name.
func (n *RedisNode) Start() {
	n.t.Helper()
	if err := n.start(); err != nil {
		n.t.Fatal(err)
	}
}

// Seeds returns the addresses of all nodes.
func (c *RedisCluster) Seeds() (all []string) {
	for _, n := range c.Nodes {
		all = append(all, n.Addr)
	}
	return all
}

// Each runs a command on every node that is a master now, and returns their answers.
func (c *RedisCluster) Each(args ...string) (answers []string) {
	c.t.Helper()
	for _, n := range c.Nodes {
		if role, err := n.Do("ROLE"); err == nil && strings.HasPrefix(role, "master") {
			answers = append(answers, n.Must(args...))
		}
	}
	return answers
}

// Master returns the node that has key.
func (c *RedisCluster) Master(key string) *RedisNode {
	c.t.Helper()
	for _, n := range c.Nodes {
		if _, err := n.Do("EXISTS", key); err == nil {
			return n
		}
	}
	c.t.Fatalf("no node has the slot of %q", key)
	return nil
}
