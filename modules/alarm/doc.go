// Package alarm reads the events that judge raises and says what people are told of
// them: Decode takes an element of a list event:p<k>, Compose makes the texts, byte
// for byte as stock's (contract alerting 4.7).
//
// It is the pure core only. Consuming the lists, the senders, the HTTP surface and
// the daemon itself are not there yet; rows are written by portal.SaveEvents.
package alarm
