// Package auth is the one home of password hashes: how they are made, how they are
// checked, and how much memory that may take at a time.
//
// A hash is text of at most 64 characters, for stock's column. Two forms exist:
//
//	a2$AAAA$SSSSSSSSSSSSSSSSSSSSSS$HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH   argon2id
//	900150983cd24fb0d6963f7d28e17f72                                   stock: MD5 of salt and password
//
// The fields of the first are base64 without padding: three bytes log2 of the
// memory in KiB, passes, lanes; 16 bytes of salt; 24 bytes of hash. Both are
// always accepted; which one is made is the owner's choice, because a stock
// dashboard or api that shares the database can check the second only.
package auth
