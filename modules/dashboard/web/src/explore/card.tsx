// One chart: its title, the plot, and a legend that is a table.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { t } from "../i18n";
import { theme } from "../prefs";
import { Link } from "../frame";
import { Failure } from "../ui/error";
import { AlarmIcon, EnlargeIcon, RefreshIcon, ShrinkIcon } from "../ui/icons";
import { clock } from "./axis";
import { alone, busy, failed, figures, refresh, refreshOne, shown } from "./charts";
import type { Group, Line } from "./group";
import { colorName, dashOf, Plot } from "./plot";
import { align, seriesKey, type Series, type Stats } from "./series";
import { show, view } from "./state";
import { concerns, labelOf } from "./threshold";
import { format, unitOf } from "./units";

type Column = "label" | "now" | "min" | "max" | "avg";

const none: Stats = { now: null, min: null, max: null, avg: null, last: 0 };
const keyOf = (l: Line) => seriesKey(l.endpoint, l.counter);

export function Card({ g, big, legend }: { g: Group; big: boolean; legend: string }) {
  const root = useRef<HTMLElement>(null);
  const near = useSignal(big);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const cursor = useSignal<number | null>(null);

  // A card far below exists, but draws only when it comes near.
  useEffect(() => {
    const seen = new IntersectionObserver((e) => (near.value = e.some((x) => x.isIntersecting)), { rootMargin: "300px" });
    seen.observe(root.current as HTMLElement);
    return () => seen.disconnect();
  }, []);

  const at = shown.value;
  const lines = useMemo(
    () => g.lines.flatMap((line) => {
      const s = at?.data.get(keyOf(line));
      return s ? [{ line, s }] : [];
    }),
    [g, at],
  );
  const missing = at && !busy.value && failed.value === null ? g.lines.filter((l) => !at.data.has(keyOf(l))) : [];
  const table = useMemo(() => align(lines.map((x) => x.s)), [lines]);
  const units = [...new Set(lines.map(({ line, s }) => unitOf(line.counter, s.type)))];
  const steps = [...new Set(lines.map((x) => x.s.step))];
  const counter = g.lines.every((l) => l.counter === g.lines[0]?.counter) ? g.lines[0]?.counter : undefined;
  const own = alone.value.get(g.key);
  const error = own?.error ?? failed.value;
  const waiting = (own?.busy ?? false) || busy.value;
  const empty = lines.length > 0 && lines.every((x) => figures.value.get(keyOf(x.line))?.last === 0);
  const time = cursor.value === null ? undefined : table[0][cursor.value];

  const pick = (key: string, alt: boolean) => {
    const keys = lines.map((x) => keyOf(x.line));
    const h = new Set(hidden.value);
    if (alt) {
      if (!h.delete(key)) h.add(key);
      if (keys.every((k) => h.has(k))) h.clear();
    } else {
      const solo = !h.has(key) && keys.every((k) => k === key || h.has(k));
      h.clear();
      if (!solo) for (const k of keys) if (k !== key) h.add(k);
    }
    hidden.value = h;
  };

  return (
    <article class={"card" + (big ? " big" : "")} ref={root} aria-label={g.title + (g.detail ? " " + g.detail : "")} data-key={g.key}>
      <header>
        <h2 title={g.detail ? g.title + "/" + g.detail : g.title}>
          {g.title} {g.detail ? <span class="tags">{g.detail}</span> : null}
        </h2>
        <span class="facts">{[units.filter((u) => u !== "").join(", "), steps.length > 0 ? steps.map((s) => s + "\u202fs").join(", ") : ""].filter((x) => x).join(" · ")}</span>
        {counter ? <Link class="icon-button" href={"/templates?rule=" + encodeURIComponent(counter)} title={t("rule.new")} aria-label={t("rule.new") + ": " + counter}><AlarmIcon /></Link> : null}
        <button type="button" class="icon-button" title={t("refresh.one")} aria-label={t("refresh.one") + ": " + g.title} aria-busy={own?.busy ?? false} onClick={() => void refreshOne(g)}>
          <RefreshIcon />
        </button>
        <button
          type="button" class="icon-button" title={t(big ? "shrink" : "enlarge")} aria-label={t(big ? "shrink" : "enlarge") + ": " + g.title}
          onClick={() => show({ big: big ? "" : g.key })}
        >
          {big ? <ShrinkIcon /> : <EnlargeIcon />}
        </button>
      </header>
      <div class={"bar" + (waiting ? " on" : "")} aria-hidden="true" />
      {error ? <Failure error={error} onRetry={() => void (own?.error ? refreshOne(g) : refresh())} /> : null}
      <div class="plot-space">
        {near.value && lines.length > 0 && at ? (
          <Canvas g={g} lines={lines} table={table} hidden={hidden.value} from={at.from} to={at.to} onCursor={(i) => (cursor.value = i)} />
        ) : null}
        {lines.length === 0 && !error ? <div class="over">{at && !waiting ? t("chart.none") : t("loading")}</div> : null}
        {empty ? <div class="over">{t("chart.none")}</div> : null}
      </div>
      {near.value && lines.length > 0 ? (
        <Legend
          heading={legend} lines={lines} hidden={hidden.value} index={cursor.value} table={table}
          time={time === undefined ? null : clock(time, true)} onPick={pick}
        />
      ) : null}
      {missing.length > 0 && lines.length > 0 ? <div class="note">{t("chart.missing", { names: missing.map((l) => l.label).join(", ") })}</div> : null}
    </article>
  );
}

interface Drawn {
  line: Line;
  s: Series;
}

interface CanvasProps {
  g: Group;
  lines: Drawn[];
  table: ReturnType<typeof align>;
  hidden: ReadonlySet<string>;
  from: number;
  to: number;
  onCursor(i: number | null): void;
}

function Canvas({ g, lines, table, hidden, from, to, onCursor }: CanvasProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const unit = (x: Drawn) => unitOf(x.line.counter, x.s.type);
  const thresholds = view.value.thresholds;
  const marks = useMemo(
    () => thresholds.flatMap((t) => {
      const about = lines.find((x) => concerns(t, x.line.counter));
      return about ? [{ value: t.value, label: labelOf(t), unit: unit(about) }] : [];
    }),
    [thresholds, lines],
  );
  // uPlot is made anew only when other lines are drawn, or in other units.
  const shape = lines.map((x) => [keyOf(x.line), x.line.color, unit(x)].join("\n")).join("\n");

  useLayoutEffect(() => {
    const el = host.current as HTMLDivElement;
    const p = new Plot(el, lines.map((x) => ({ color: x.line.color, unit: unit(x) })), el.clientWidth, el.clientHeight, {
      onCursor,
      onZoom: (a, b) => show({ from: a, to: b }),
    });
    plot.current = p;
    const sized = new ResizeObserver(() => p.resize(el.clientWidth, el.clientHeight));
    sized.observe(el);
    return () => {
      plot.current = null;
      sized.disconnect();
      p.destroy();
    };
  }, [shape]);
  useLayoutEffect(() => plot.current?.draw(table, from, to, marks), [shape, table, from, to, marks]);
  useLayoutEffect(() => plot.current?.show(lines.map((x) => !hidden.has(keyOf(x.line)))), [shape, hidden, lines]);
  useEffect(() => plot.current?.recolor(), [theme.value]);

  return <div class="plot" ref={host} role="img" aria-label={t("chart.label", { title: g.title })} />;
}

interface LegendProps {
  heading: string;
  lines: Drawn[];
  hidden: ReadonlySet<string>;
  table: ReturnType<typeof align>;
  /** Where the crosshair stands. */
  index: number | null;
  time: string | null;
  onPick(key: string, alt: boolean): void;
}

function Legend({ heading, lines, hidden, table, index, time, onPick }: LegendProps) {
  const sort = useSignal<{ by: Column; down: boolean } | null>(null);
  const rows = lines.map(({ line, s }, i) => {
    const f = figures.value.get(keyOf(line)) ?? none;
    const here = index === null ? undefined : valueAt(table[i + 1] ?? [], index);
    return { line, key: keyOf(line), unit: unitOf(line.counter, s.type), ...f, now: index === null ? f.now : (here ?? null) };
  });
  const by = sort.value;
  if (by) {
    rows.sort((a, b) => {
      const d = by.by === "label" ? (a.line.label < b.line.label ? -1 : 1) : (a[by.by] ?? -Infinity) - (b[by.by] ?? -Infinity);
      return by.down ? -d : d;
    });
  }
  const turn = (c: Column) => (sort.value = by?.by === c ? (by.down === (c !== "label") ? { by: c, down: !by.down } : null) : { by: c, down: c !== "label" });
  const head = (c: Column, text: string) => (
    <th scope="col" class={c === "label" ? "label" : ""} aria-sort={by?.by === c ? (by.down ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => turn(c)}>
        {text}
        {by?.by === c ? (by.down ? " ↓" : " ↑") : ""}
      </button>
    </th>
  );
  return (
    <div class="legend" title={t("legend.hint")} tabIndex={0} role="group" aria-label={heading}>
      <table>
        <thead>
          <tr>
            {head("label", heading)}
            {head("now", time ?? t("now"))}
            {head("min", t("min"))}
            {head("max", t("max"))}
            {head("avg", t("avg"))}
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.key} class={hidden.has(r.key) ? "off" : ""} onClick={(e: MouseEvent) => onPick(r.key, e.altKey)}>
              <td class="label">
                <button type="button" aria-pressed={!hidden.has(r.key)} title={r.line.label}>
                  <svg width="14" height="8" aria-hidden="true">
                    <line x1="1" x2="13" y1="4" y2="4" stroke={`var(${colorName(r.line.color)})`} stroke-width="2" stroke-dasharray={dashOf(r.line.color).join(" ")} />
                  </svg>
                  <span>{r.line.label}</span>
                </button>
              </td>
              <td>{format(r.now, r.unit)}</td>
              <td>{format(r.min, r.unit)}</td>
              <td>{format(r.max, r.unit)}</td>
              <td>{format(r.avg, r.unit)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The value at index, or the one before it where the series has no step there. */
function valueAt(col: readonly (number | null | undefined)[], index: number): number | null | undefined {
  for (let i = index; i >= 0 && i > index - 60; i--) if (col[i] !== undefined) return col[i];
  return undefined;
}
