// Package stream carries points between our own daemons. A connection keeps a
// dictionary: a series is defined once, after that each of its points is a
// reference, a time and a value, about ten bytes.
//
//	sender                                   receiver
//	Stream.Open{version, kind, sender, …} ->
//	                                      <- {version, capabilities, window}
//	Stream.Push{seq 1, define, columns}   ->
//	Stream.Push{seq 2, columns}           ->
//	                                      <- ack{seq 1, taken, refused, …}
//	                                      <- ack{seq 2, …}
//
// It rides on package rpc as MsgpackSpecRpc on the ordinary port, so one listener
// serves streams beside everything else.
//
// # Rules of the wire
//
// A push holds its points in columns: refs as zigzag varints, each the difference
// to the one before; times as zigzag varints of seconds since base; values of 8
// bytes, little-endian; texts as uvarint length and bytes. The points with a number
// come first, as many as there are values; those with a text follow.
//
// Refs count up from 1 in the order of their first definition and are never given
// to another series on the same connection. A definition may be repeated; it holds
// even when the points of its push were not taken. Pushes are numbered from 1
// without a gap; a gap or a repetition ends the connection. Acks come in the order
// of the pushes. Unknown fields and capabilities are ignored, an unknown version is
// refused in words.
//
// A sender with the capability "after" says in each push which refused push it knew of.
// What it had on its way behind a refused one is refused, too, so that it is not there
// before it.
//
// # Use
//
// The receiving daemon registers the two methods with its rpc server:
//
//	stream.Serve(s, stream.ServeOptions{Log: log}, func(c *rpc.Conn, h stream.Hello) (stream.Receiver, error) {
//		return newReceiver(h), nil
//	})
//
// The sending one keeps a Sender for each address:
//
//	snd, err := stream.NewSender(stream.SenderOptions{Addr: addr, Kind: "graph", Sender: host, Stock: sendByGob})
//	g.Go("stream "+addr, snd.Run)
//	h := snd.Define(series)                                     // once a series
//	err = snd.Send(ctx, []stream.Point{{Handle: h, …}}, done)   // done(Result), in order
//
// A batch that is not acked stays the owner's: an agent sends it to another
// transfer, transfer puts it into the spool of that address. What is to be kept on
// disk is written with an Encoder as a record that carries its own dictionary, and
// read back with Record.Decode. A spool that is waiting for its peer calls WaitRetry
// before the next Send.
//
// # What is lost
//
// Nothing that was acked, as far as the receiver keeps its word: an ack says that
// the points are durable. A Sender gives every batch that was not acked back to its
// owner, in order; it never sends one elsewhere on its own.
package stream
