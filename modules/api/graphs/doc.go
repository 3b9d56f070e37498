// Package graphs asks the graph nodes of a cluster: which node holds a series, by
// the ring, and then all nodes concerned at the same time, each with a bounded
// number of calls in flight. What a node that is away would have answered is
// missing from the result, and the node is named.
//
// A node of ours answers many series in one call (Graph.QueryBatch,
// Graph.LastBatch) and searches its memory (Graph.Search). A stock node is asked
// one series a call, in gob, and can not search: the caller then reads the index
// in SQL. Which of the two a node is shows at the first call and is asked again
// when it reconnects, so nodes may be exchanged one at a time.
//
// A node may have several addresses ("addr1,addr2", transfer's double write). They
// hold the same series: reading goes to the one that answered last and fails over
// to the next, deleting goes to all.
package graphs
