package rulebook

// Method is the call by which a judge asks hbs for the book.
const Method = "HbsNew.Book"

// Request asks for the book, or for what changed since Version.
type Request struct {
	Judge   string `json:"judge"`   // who asks, for logs
	Version string `json:"version"` // of the book that the judge has, in hex; empty for none
	Wait    int    `json:"wait"`    // milliseconds to wait for a change, 15 000 at most
}

// Kinds of a Reply.
const (
	NotModified = "not_modified" // Version is in force, Body is empty
	Full        = "full"         // Body is Book.Encode
	Changes     = "delta"        // Body is Delta.Encode
)

// Reply answers a Request.
type Reply struct {
	Kind    string `json:"kind"`
	Version string `json:"version"` // of the book that is in force, in hex
	Body    []byte `json:"body"`
}
