package core

import (
	"slices"
	"strings"

	"falcon/common/expr"
	"falcon/common/model"
	"falcon/common/verdict"
)

// NewTextSeries is NewSeries for one whose values are texts. Its points are put in with
// the Value that Word returns. Rules over texts watch it, and no others.
func NewTextSeries(endpoint, metric, sortedTags string) Series {
	s := NewSeries(endpoint, metric, sortedTags, "")
	s.text, s.gauge = true, true
	return s
}

// IsText says whether the values are texts.
func (s *Series) IsText() bool { return s.text }

// Word returns the Value that stands for a text in a point of the series. It holds for
// the next Insert and as long as the point is kept: a text is kept once however many
// points have it, and its place is used again when none has. The text is copied.
func (s *Series) Word(text string) float64 {
	if s.words == nil {
		s.words = new([]string)
	}
	if i := slices.Index(*s.words, text); i >= 0 {
		return float64(i)
	}
	used := make([]bool, len(*s.words))
	for _, p := range s.points {
		used[int(p.Value)] = true
	}
	text = strings.Clone(text)
	if i := slices.Index(used, false); i >= 0 {
		(*s.words)[i] = text
		return float64(i)
	}
	*s.words = append(*s.words, text)
	return float64(len(used))
}

// Text returns the text of a point of the series.
func (s *Series) Text(p expr.Point) string { return (*s.words)[int(p.Value)] }

// texts appends those of points, as many as a function may look at.
func (s *Series) texts(dst []string, points []expr.Point) []string {
	for _, p := range points[:min(len(points), expr.MaxWindow)] {
		dst = append(dst, s.Text(p))
	}
	return dst
}

// judgeTexts is judge for a series of texts.
func (s *Series) judgeTexts(dst []*model.Event, points []expr.Point, now int64, set Settings) []*model.Event {
	var room [expr.MaxWindow]string
	texts := s.texts(room[:0], points)
	for _, r := range s.rules {
		if r.Serial != "" {
			dst = s.textMember(dst, points, texts, r, now)
			continue
		}
		i := slices.IndexFunc(s.states, func(st state) bool { return st.rule.Key == r.Key })
		var before verdict.State
		if i >= 0 {
			before = s.states[i].State
		}
		after, emit, left := verdict.LookText(r.Text, before, verdict.Rule{MaxStep: r.MaxStep, MinInterval: set.MinInterval}, points, texts, now)
		if emit == verdict.Nothing {
			continue
		}
		if i < 0 {
			s.states = append(s.states, state{})
			i = len(s.states) - 1
		}
		s.states[i] = state{State: after, rule: r}
		e := s.event(&s.states[i], 0)
		e.LeftString = left
		dst = append(dst, e)
	}
	return dst
}
