package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"falcon/common/model"
	"falcon/common/rpc"
)

// adoptTimeout bounds a call of a judge that brings it what another one knew.
const adoptTimeout = 10 * time.Second

// judgesCall is Transfer.Judges: how the judges stand, for the alarm that tells them what
// others knew.
func (t *Transfer) judgesCall(context.Context, *rpc.Conn, *model.NullRpcRequest) (*model.JudgesReply, error) {
	reply := &model.JudgesReply{Nodes: []model.JudgeNode{}}
	var view []string
	for _, c := range []*cluster{t.judge, t.stringJudge} {
		if c == nil {
			continue
		}
		view = append(view, c.kind+" "+c.ring.Fingerprint())
		nodes := c.failover.nodes()
		if nodes == nil {
			for _, n := range c.ring.Names() {
				nodes = append(nodes, model.JudgeNode{Node: n, State: model.NodeHome})
			}
		}
		for _, n := range nodes {
			n.Kind = c.kind
			if n.State != model.NodeHome {
				view = append(view, n.Node+" "+n.State)
			}
			reply.Nodes = append(reply.Nodes, n)
		}
		c.failover.heard(t.now())
	}
	reply.View = strings.Join(view, "; ")
	return reply, nil
}

// adoptCall is Transfer.Adopt (contract alerting 1.12): each item goes on to the judges of
// its series. It answers when they have; what one of them does not take is counted with
// its reason and keeps nobody else back.
func (t *Transfer) adoptCall(ctx context.Context, _ *rpc.Conn, r *model.ForwardRequest) (*model.ForwardReply, error) {
	if len(r.Items) > model.MaxForward {
		return nil, fmt.Errorf("%d items are too many for one call: at most %d", len(r.Items), model.MaxForward)
	}
	reply := &model.ForwardReply{Refused: map[string]int{}, Failed: map[string]string{}}
	type place struct {
		c    *cluster
		node string
	}
	owned, foreign := map[place][]model.AdoptItem{}, map[place][]model.AdoptItem{}
	var order []place
	for _, it := range r.Items {
		ev := &it.Event
		c := t.judgeOf(ev.Texts())
		if c == nil {
			reply.Refused[model.AdoptNobody]++
			continue
		}
		pk := model.PK(ev.Endpoint, ev.Metric(), model.SortedTags(ev.PushedTags))
		owner := place{c, c.failover.owner(c.ring, pk)}
		owned[owner] = append(owned[owner], it)
		if !slices.Contains(order, owner) {
			order = append(order, owner)
		}
		if !r.Release {
			continue
		}
		it.Release = true
		for _, n := range c.ring.Names() {
			if p := (place{c, n}); p != owner {
				foreign[p] = append(foreign[p], it)
			}
		}
	}
	failed := false
	for _, p := range order {
		all, err := t.adoptAt(ctx, p.c, p.node, owned[p])
		if err != nil {
			failed = true
			reason := model.AdoptAway
			if rpc.IsMethodMissing(err) {
				// It tells what it finds from the beginning, as stock does.
				reason, failed = model.AdoptStock, false
			}
			reply.Refused[reason] += len(owned[p])
			reply.Failed[p.node] = err.Error()
			continue
		}
		reply.Adopted += len(all.Adopted)
		for reason, n := range all.Refused {
			reply.Refused[reason] += n
		}
	}
	if failed {
		return reply, nil // nobody lets go of what its judge may not have
	}
	for p, items := range foreign {
		if all, err := t.adoptAt(ctx, p.c, p.node, items); err == nil {
			reply.Released += len(all.Adopted)
		} else if !rpc.IsMethodMissing(err) {
			reply.Failed[p.node] = err.Error()
		}
	}
	for _, name := range r.Told {
		for _, c := range []*cluster{t.judge, t.stringJudge} {
			if kind, node, ok := strings.Cut(name, "/"); ok && c != nil && c.kind == kind {
				c.failover.tell(node)
			}
		}
	}
	return reply, nil
}

// adoptAt brings items to every address of a node, of which each gets the node's points.
// One that takes them is enough, since the others may be away.
func (t *Transfer) adoptAt(ctx context.Context, c *cluster, node string, items []model.AdoptItem) (best *model.AdoptReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	secure, err := c.peers.TLS.Config(c.kind)
	if err != nil {
		return nil, err
	}
	var errs []error
	for addr := range strings.SplitSeq(c.peers.Cluster[node], ",") {
		client := rpc.NewClient(rpc.ClientOptions{
			Addr: strings.TrimSpace(addr), StockCodec: rpc.Gob, Key: t.cfg.FleetKey.Reveal(), Log: t.log,
			DialTimeout: c.peers.ConnTimeout.D(), CallTimeout: adoptTimeout, TLS: secure, Dial: t.deps.Dial,
		})
		var reply model.AdoptReply
		err := client.Call(ctx, "Judge.Adopt", &items, &reply)
		client.Close()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
		} else if best == nil || len(reply.Adopted) > len(best.Adopted) {
			best = &reply
		}
	}
	if best == nil {
		return nil, errors.Join(errs...)
	}
	return best, nil
}
