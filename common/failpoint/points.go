package failpoint

// A Point is a step at which a process can be killed.
type Point struct {
	Name string // the subject and what has just happened to it
	// Walks are who comes there: the daemons, and "upgrade" for an agent that upgrades
	// itself.
	Walks []string
	Tries string // what is between two things there, for docs/reliability.md
}

var (
	spools   = []string{"transfer", "agent"}
	journals = []string{"judge", "plus_judge"}
	graph    = []string{"graph"}
	upgrade  = []string{"upgrade"}
)

// Points are all of them.
var Points = []Point{
	{"spool.appended", spools, "a record is in the spool, and nobody is answered for it"},
	{"spool.turned", spools, "the spool's next file has begun and is empty"},
	{"spool.committed", spools, "what is delivered is noted, and its file is still there"},
	{"spool.removed", spools, "a delivered file is gone, others may follow"},

	{"transfer.acked", []string{"transfer"}, "a peer has acknowledged a chunk, and the books do not know"},
	{"transfer.counted", []string{"transfer"}, "the books know that a chunk is delivered, and its sender does not"},
	{"transfer.spooled", []string{"transfer"}, "what a silent peer had is in the spool, and its sender does not know"},
	{"transfer.replayed", []string{"transfer"}, "a peer has acknowledged what was spooled, and the spool does not know"},

	{"agent.spooled", []string{"agent"}, "the spool has what was pushed, and the push is not answered"},
	{"agent.acked", []string{"agent"}, "a transfer has acknowledged a batch, and the spool still holds it"},
	{"agent.forgotten", []string{"agent"}, "the spool has let a batch go, and the books do not know"},

	{"graph.logged", graph, "points are in the log, and not acknowledged"},
	{"graph.rotated", graph, "a window is being sealed: the log has turned, nothing is written"},
	{"graph.named", graph, "the catalog knows the series of a segment, whose file is not finished"},
	{"graph.segment", graph, "a segment is whole and has no name"},
	{"graph.segment-named", graph, "a segment has its name, and queries are still answered from memory"},
	{"graph.published", graph, "queries are answered from a segment whose points are still in the log"},
	{"graph.log-dropped", graph, "a log file is gone, others may follow"},
	{"graph.catalog", graph, "a rewritten catalog is whole and has no name"},
	{"graph.catalog-named", graph, "two catalogs are there"},

	{"journal.appended", journals, "records are in the journal, and nobody is answered for them"},
	{"journal.turned", journals, "the journal's next file has begun, and there is no snapshot for it"},
	{"journal.snapshot", journals, "a snapshot is whole and has no name"},
	{"journal.snapshot-named", journals, "a snapshot has its name, and what it replaces is still there"},
	{"journal.removed", journals, "one of the files that a snapshot replaces is gone, others may follow"},
	{"outbox.pushing", journals, "an event is in the journal, and Redis does not have it"},
	{"outbox.pushed", journals, "Redis has an event, and the journal does not know"},
	{"outbox.marked", journals, "the journal knows that Redis has an event"},

	{"judge.judged", []string{"judge"}, "points are judged, and nothing of that is in the journal"},
	{"judge.rules", []string{"judge"}, "new rules are on the disk and have no name"},
	{"judge.rules-named", []string{"judge"}, "new rules are on the disk, and judged by the old ones"},
	{"plus_judge.judged", []string{"plus_judge"}, "a condition is looked at, and nothing of that is in the journal"},

	{"alarm.taken", []string{"alarm"}, "events are in flight to their parts"},
	{"queue.moved", []string{"alarm"}, "events are in their parts, and in flight to them as well"},
	{"alarm.popped", []string{"alarm"}, "events are in hand, and nothing is written"},
	{"alarm.saved", []string{"alarm"}, "events have their rows, and no message has"},
	{"alarm.queued", []string{"alarm"}, "messages have their rows, and wait for nobody"},
	{"alarm.claimed", []string{"alarm"}, "messages are about to be sent"},
	{"alarm.sent", []string{"alarm"}, "a provider has a message, and its row does not say so: told again, as a possible repeat"},
	{"alarm.noted", []string{"alarm"}, "rows say what became of messages, and their events are in flight"},
	{"alarm.forgotten", []string{"alarm"}, "events are told and out of flight"},
	{"alarm.owed", []string{"alarm"}, "the database is away: what rows are to say is in Redis, and nobody is told"},
	{"alarm.paid", []string{"alarm"}, "the rows that were owed are written, and Redis still has what they say"},

	{"hbs.compiled", []string{"hbs"}, "a book is compiled, and nobody has it"},
	{"hbs.asked", []string{"hbs"}, "Redis has asked for the rows of a book, and names the one before"},
	{"hbs.published", []string{"hbs"}, "Redis names a book that is not in force at the hbs that made it"},

	{"upgrade.downloading", upgrade, "a piece of the new program is on the disk"},
	{"upgrade.downloaded", upgrade, "the new program is whole, and not checked"},
	{"upgrade.checked", upgrade, "it is checked, and was not tried"},
	{"upgrade.tried", upgrade, "it runs, and the old one is not kept"},
	{"upgrade.kept", upgrade, "the old one is kept, and nothing says that the way leads forward"},
	{"upgrade.swap-noted", upgrade, "the way leads forward, and the old one is in place"},
	{"upgrade.file-in-place", upgrade, "a new file is in place, others may follow"},
	{"upgrade.in-place", upgrade, "the new files are in place, and nothing says that they are on trial"},
	{"upgrade.trial-noted", upgrade, "the new program is on trial, and the old one still runs"},
	{"upgrade.file-back", upgrade, "the guard has put an old file back, others may follow"},
	{"upgrade.back", upgrade, "the guard has put the old files back, and nothing says so"},
}

// Of returns the names of the points that somebody comes to.
func Of(walk string) (names []string) {
	for _, p := range Points {
		for _, w := range p.Walks {
			if w == walk {
				names = append(names, p.Name)
			}
		}
	}
	return names
}
