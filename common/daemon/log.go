package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// A Logger is a slog.Logger whose file rotates and whose level can be changed.
type Logger struct {
	*slog.Logger
	level *slog.LevelVar
	file  *rotated
}

// NewLogger opens the log that c describes; with an empty c.File it writes to
// fallback. Close it when nothing logs any more.
func NewLogger(c LogConfig, debug bool, fallback io.Writer) (*Logger, error) {
	l := &Logger{level: new(slog.LevelVar)}
	l.SetDebug(debug)
	w := fallback
	if c.File != "" {
		if err := writable(c.File); err != nil {
			return nil, fmt.Errorf("log.file: %w", err)
		}
		l.file = newRotated(c, time.Now)
		w = l.file
	}
	opts := &slog.HandlerOptions{Level: l.level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if c.Format == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	l.Logger = slog.New(h)
	return l, nil
}

// SetDebug shows or hides what is logged at level debug.
func (l *Logger) SetDebug(on bool) {
	if on {
		l.level.Set(slog.LevelDebug)
	} else {
		l.level.Set(slog.LevelInfo)
	}
}

// Close closes the log's file.
func (l *Logger) Close() {
	if l.file != nil {
		_ = l.file.files.Close()
	}
}

// writable finds out at start, and in words, what would else lose the log.
func writable(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// rotated is a file that begins anew when it is full, by size, and at midnight, by
// day. lumberjack does the first and removes old files; the second is ours.
type rotated struct {
	files *lumberjack.Logger
	daily bool
	now   func() time.Time

	mu  sync.Mutex
	day int // of the year, of the last line; 0 before the first
}

func newRotated(c LogConfig, now func() time.Time) *rotated {
	size := c.MaxSize
	if size == 0 {
		size = math.MaxInt32 // MB; lumberjack takes 0 for 100
	}
	days := int(math.Ceil(c.MaxAge.D().Hours() / 24))
	r := &rotated{
		files: &lumberjack.Logger{Filename: c.File, MaxSize: size, MaxBackups: c.MaxFiles, MaxAge: days, LocalTime: true},
		daily: c.Daily,
		now:   now,
	}
	if st, err := os.Stat(c.File); err == nil && st.Size() > 0 {
		r.day = st.ModTime().Local().YearDay()
	}
	return r
}

func (r *rotated) Write(p []byte) (int, error) {
	if r.daily {
		r.mu.Lock()
		day := r.now().Local().YearDay()
		turn := r.day != 0 && day != r.day
		r.day = day
		r.mu.Unlock()
		if turn {
			if err := r.files.Rotate(); err != nil {
				return 0, err
			}
		}
	}
	return r.files.Write(p)
}
