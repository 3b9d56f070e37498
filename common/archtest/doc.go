// Package archtest holds the rules of who may import whom, as a test: the layers
// of the tree, the one home of each third-party library, and who may make an HTTP
// client. A breach is reported with the reason in words.
package archtest
