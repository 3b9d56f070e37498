// Package model holds the nouns of the fleet and the structs that cross its
// wires. It imports the standard library only.
//
// The Go field names of the wire structs are part of the contract: gob matches
// fields by their Go name, JSON and msgpack by the json tag (which stock often
// leaves out, so that the key is the Go name). The order of the fields is part
// of it too: a msgpack peer may send a struct as an array. Never rename, move or
// remove a field; new ones go at the end.
package model
