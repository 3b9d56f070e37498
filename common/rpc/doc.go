// Package rpc is how daemons talk. One listener answers every codec a peer may
// speak, told apart by its first bytes (contract ingest 2.2 and 2.3):
//
//	JSON-RPC 1.0     stock agents, hbs clients, people with nc
//	gob (net/rpc)    stock transfer, graph, judge, api
//	GoRpc + msgpack  other users of the ugorji library
//	MsgpackSpecRpc   our own daemons, and what Client prefers
//
// A server:
//
//	s := rpc.NewServer(rpc.ServerOptions{Log: log})
//	rpc.Handle(s, "Transfer.Update", t.update)
//	err := s.Serve(ctx, listener) // returns when ctx has ended and calls are answered
//
// A client keeps a small pool of connections to one address, with many calls in
// flight on each:
//
//	c := rpc.NewClient(rpc.ClientOptions{Addr: "10.0.0.7:6070", StockCodec: rpc.Gob})
//	defer c.Close()
//	err := c.Call(ctx, "Graph.Query", &param, &reply)
//
// # Errors
//
// A ServerError is what the peer's method said; the peer is well and has heard
// the call. A *TransportError is everything between: it says whether the request
// may have reached the peer. The client itself sends a call again only when no
// byte of it was sent; whether to repeat one that may have arrived is for the
// caller to know.
//
// # Trust
//
// Stock's methods are open, as in stock. Protect keeps others for peers that show the
// fleet key (ClientOptions.Key), by Auth.Hello, or for this machine while there is none.
//
// # Limits
//
// A message is refused as soon as its length shows that it is too large, and no
// length prefix allocates memory before the bytes are there. A method that
// panics answers "internal error in X.Y", and the process lives.
//
// Not there yet: a hand-written gob decoder.
package rpc
