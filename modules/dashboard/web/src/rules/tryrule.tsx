// A rule is tried on history before it is saved: what it would have told, and where.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { call, isAbort } from "../api";
import { now, serverNow } from "../clock";
import { align } from "../explore/series";
import { labelOf } from "../explore/threshold";
import { colorName, dashOf, Plot } from "../explore/plot";
import { format, unitOf } from "../explore/units";
import { count, say, t } from "../i18n";
import { theme } from "../prefs";
import { moment } from "../text";
import { Pill } from "../ui/parts";
import { Segment } from "../ui/segment";
import { noteKeys, openSpans, ranges, secondsOf, seriesOf, thresholdOf, type Range, type Tried } from "./tried";

const listed = 50; // events

/** What is drawn of a rule. */
interface Draft {
  func: string;
  op: string;
  right_value: string;
}

interface Props {
  /** The route that tries it. */
  path: string;
  /** The rule as the route takes it. */
  body: Readonly<Record<string, unknown>>;
  /** Another one says that the rule was changed. */
  draft: Draft;
  metric: string;
}

interface Done {
  tried: Tried;
  range: Range;
  draft: Draft;
  metric: string;
}

export function TryRule({ path, body, draft, metric }: Props) {
  const range = useSignal<Range>("1d");
  const done = useSignal<Done | null>(null);
  const error = useSignal<unknown>(null);
  const busy = useSignal(false);
  const under = useRef<AbortController | null>(null);
  useEffect(() => () => under.current?.abort(), []);

  const run = async (over: Range) => {
    under.current?.abort();
    const mine = (under.current = new AbortController());
    busy.value = true;
    error.value = null;
    const end = Math.floor(serverNow());
    try {
      const a = await call<Tried>(path, { method: "POST", body: { ...body, start: end - secondsOf(over), end }, signal: mine.signal });
      done.value = { tried: a.data, range: over, draft, metric };
    } catch (err) {
      if (!isAbort(err)) error.value = err;
    } finally {
      if (under.current === mine) busy.value = false;
    }
  };
  const d = done.value;
  return (
    <section class="try" aria-label={t("try")}>
      <div class="try-head">
        <h3>{t("try")}</h3>
        <Segment
          label={t("range")} value={range.value} options={ranges.map((r) => [r, r] as const)}
          onChange={(r) => {
            range.value = r;
            if (done.peek()) void run(r);
          }}
        />
        <button type="button" class="button" disabled={busy.value} aria-busy={busy.value} onClick={() => void run(range.value)}>{d ? t("try.again") : t("try.go")}</button>
      </div>
      <div class={"bar" + (busy.value ? " on" : "")} aria-hidden="true" />
      {error.value ? <div class="failure" role="alert">{say(error.value)}</div> : null}
      {d ? <Result d={d} stale={d.draft !== draft} /> : error.value ? null : <p class="sub try-hint">{t("try.hint")}</p>}
    </section>
  );
}

function Result({ d, stale }: { d: Done; stale: boolean }) {
  const { tried } = d;
  const some = tried.series.some((s) => s.points.length > 0);
  const range = t(`try.last.${d.range}`);
  return (
    <div class={"stack tried" + (stale ? " stale" : "")}>
      <div class="try-sum" role="status">
        <b class={tried.fired > 0 ? "warn-text" : "ok-text"}>
          {tried.fired > 0
            ? t("try.fired", { n: count(tried.fired), hosts: count(tried.fired_hosts), all: count(tried.hosts), range })
            : t("try.quiet", { all: count(tried.hosts), range })}
        </b>
        {tried.fired > 0 ? <span>{t("try.more", { told: count(tried.told), over: count(tried.recovered), firing: count(tried.firing) })}</span> : null}
        <span class="sub">{t("try.looked", { n: count(tried.looked_at), all: count(tried.matches) + (tried.more ? "+" : ""), points: count(tried.points) })}</span>
        {stale ? <span class="warn-text">{t("try.changed")}</span> : null}
      </div>
      {some ? <Chart d={d} /> : null}
      <ul class="try-lines">
        {tried.series.map((s, i) => (
          <li key={s.endpoint + "\n" + s.counter}>
            <svg width="14" height="8" aria-hidden="true"><line x1="1" x2="13" y1="4" y2="4" stroke={`var(${colorName(i)})`} stroke-width="2" stroke-dasharray={dashOf(i).join(" ")} /></svg>
            <span class="mono">{s.endpoint}/{s.counter}</span>
            <span class="n">{count(s.fired)}×</span>
            {s.firing ? <Pill tone="bad">{t("try.open")}</Pill> : null}
          </li>
        ))}
      </ul>
      {tried.events.length > 0 ? <Events d={d} /> : null}
      {tried.notes.map((n) => {
        const key = noteKeys[n.code];
        return <div key={n.code} class="note">{key ? t(key, { n: count(n.n), h: Math.round(n.n / 360) / 10 }) : n.text}</div>;
      })}
    </div>
  );
}

function Events({ d }: { d: Done }) {
  const { events } = d.tried;
  return (
    <details class="explain">
      <summary>{t("try.events", { n: count(events.length) })}</summary>
      <ol class="try-events">
        {events.slice(0, listed).map((e) => (
          <li key={`${e.time}\n${e.endpoint}\n${e.counter}`}>
            <time>{moment(e.time, now.value)}</time>
            <Pill tone={e.status === "OK" ? "ok" : "bad"}>{e.status === "OK" ? t("try.ok") : t("try.problem", { n: e.step })}</Pill>
            <span class="mono">{e.endpoint}/{e.counter}</span>
            <span class="n">{format(e.value, "")}</span>
          </li>
        ))}
      </ol>
      {events.length > listed ? <div class="sub">{t("try.listed", { n: listed })}</div> : null}
    </details>
  );
}

function Chart({ d }: { d: Done }) {
  const { tried, draft, metric } = d;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const unit = unitOf(metric, tried.series[0]?.type ?? "");
  const n = tried.series.length;
  useLayoutEffect(() => {
    const el = host.current as HTMLDivElement;
    const lines = Array.from({ length: n }, (_, color) => ({ color, unit }));
    const p = new Plot(el, lines, el.clientWidth, el.clientHeight, { onCursor: () => {}, onZoom: () => {} });
    plot.current = p;
    const sized = new ResizeObserver(() => p.resize(el.clientWidth, el.clientHeight));
    sized.observe(el);
    return () => {
      plot.current = null;
      sized.disconnect();
      p.destroy();
    };
  }, [unit, n]);
  useLayoutEffect(() => {
    const mark = thresholdOf(draft.func.trim(), draft.op, draft.right_value.trim());
    plot.current?.draw(align(tried.series.map(seriesOf)), tried.start, tried.end, mark ? [{ value: mark.value, label: labelOf(mark), unit }] : [], openSpans(tried));
  }, [unit, d]);
  useEffect(() => plot.current?.recolor(), [theme.value]);
  return (
    <figure class="try-chart">
      <div class="plot-space"><div class="plot" ref={host} role="img" aria-label={t("try.chart", { title: metric })} /></div>
      {tried.fired > 0 ? <figcaption class="sub">{t("try.lanes")}</figcaption> : null}
    </figure>
  );
}
