// Package conf reads the configuration file of a daemon.
//
// A file is JSON with // comments and trailing commas. It is read over the
// defaults, so {} is a complete file. A key that no field knows is an error that
// names its path and the nearest known key; keys of stock and of its fork that we
// do not need are listed by the configuration as retired and only warn. Numbers
// in stock's keys keep stock's unit (Millis, Seconds) and may be written with a
// unit instead, which is preferred.
package conf
