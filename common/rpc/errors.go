package rpc

import (
	"errors"
	"fmt"
	"strings"
)

// A ServerError is the text with which the peer's method failed. The call has
// arrived and the connection is well.
type ServerError string

// Error returns the text as the peer sent it.
func (e ServerError) Error() string { return string(e) }

// A TransportError says that a call has no answer: the peer could not be reached,
// went away, or took too long (then it wraps context.DeadlineExceeded).
type TransportError struct {
	Method string
	Addr   string
	// Sent is whether the request may have reached the peer. When it is false,
	// calling again is always safe.
	Sent bool
	Err  error
}

// Error names the call, the peer and the cause.
func (e *TransportError) Error() string {
	return fmt.Sprintf("call %s on %s: %v", e.Method, e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Errors that end a connection.
var (
	// ErrClosed is the cause when the client or connection was closed by its owner.
	ErrClosed = errors.New("connection closed by us")
	// ErrPeerClosed is the cause when the peer closed the connection without an
	// answer; of a stock peer that is the answer to any msgpack request.
	ErrPeerClosed = errors.New("peer closed the connection")
	// ErrTooLarge is the cause when a message is larger than MaxMessage.
	ErrTooLarge = errors.New("message is larger than allowed")
)

var (
	errBadCodec = errors.New("first bytes belong to no codec")
	errStopping = errors.New("server is stopping")
	errEncoder  = errors.New("an encoder panicked")
	errNotSent  = errors.New("connection was closed before the call was sent")
)

const missingParams = "jsonrpc: request body missing params"

func methodMissing(method string) string { return "rpc: can't find method " + method }

// IsMethodMissing reports whether err says that the peer has no such method: the
// peer is older, or stock.
func IsMethodMissing(err error) bool {
	var s ServerError
	return errors.As(err, &s) &&
		(strings.HasPrefix(string(s), "rpc: can't find method ") || strings.HasPrefix(string(s), "rpc: can't find service "))
}

// An argError is an argument that could not be decoded although the message was
// whole: the caller gets the text and the connection lives.
type argError struct{ err error }

func (e argError) Error() string { return e.err.Error() }
func (e argError) Unwrap() error { return e.err }

func protocolError(format string, a ...any) error {
	return fmt.Errorf("protocol error: "+format, a...)
}
