package portal

// What a strategy about texts has in its columns. Its right_value is no number, so that
// a stock hbs sets the row aside and never takes it for a rule about numbers.
const (
	// ValueString is value_type of a strategy about texts; that of others is empty.
	ValueString = "string"
	// RightOfTexts is right_value of such a strategy; right_string has what it compares
	// with.
	RightOfTexts = "str"
)

// The column op has eight characters and one operator nine: it is stored without its
// last one, which is also what a database that is not strict makes of it.
const (
	opLacks       = "!contains"
	opLacksStored = "!contain"
)

func storedOp(op string) string {
	if op == opLacks {
		return opLacksStored
	}
	return op
}

func readOp(op string) string {
	if op == opLacksStored {
		return opLacks
	}
	return op
}
