// The chart beside a case: its counter with the rule's threshold.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { call } from "../api";
import { serverNow } from "../clock";
import { t } from "../i18n";
import { useLoad } from "../load";
import { theme } from "../prefs";
import { Plot } from "../explore/plot";
import { align, columns, type HistoryRow, type Series } from "../explore/series";
import { labelOf } from "../explore/threshold";
import { unitOf } from "../explore/units";
import { when } from "../text";
import { Status } from "../ui/parts";
import { thresholdOf, type Case } from "./data";

const hour = 3600;

export function CaseChart({ c }: { c: Case }) {
  const over = c.status === "OK";
  const points = useLoad(
    `${c.endpoint}\n${c.metric}\n${over}`,
    async (signal) => {
      const now = Math.floor(serverNow());
      // What is over is shown around its end, what is not up to now.
      const to = over && now - when(c.update_at) > hour / 2 ? when(c.update_at) + hour / 4 : now;
      const from = to - hour;
      const a = await call<HistoryRow[]>("/graph/history", {
        method: "POST", signal,
        body: { hostnames: [c.endpoint], counters: [c.metric], consol_fun: "AVERAGE", start_time: from, end_time: to },
      });
      return { from, to, series: a.data.map(columns)[0] };
    },
    { every: 10 },
  );
  const s = points.data?.series;
  const some = s?.v.some((v) => v !== null) ?? false;
  return (
    <div class="case-chart">
      <Status of={[points]} />
      <div class="plot-space">
        {points.data && s && some ? <Lines c={c} s={s} from={points.data.from} to={points.data.to} /> : null}
        {points.data && !some ? <div class="over">{t("chart.none")}</div> : null}
        {!points.data && !points.error ? <div class="over">{t("loading")}</div> : null}
      </div>
    </div>
  );
}

function Lines({ c, s, from, to }: { c: Case; s: Series; from: number; to: number }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const unit = unitOf(s.counter, s.type);
  useLayoutEffect(() => {
    const el = host.current as HTMLDivElement;
    const p = new Plot(el, [{ color: 0, unit }], el.clientWidth, el.clientHeight, { onCursor: () => {}, onZoom: () => {} });
    plot.current = p;
    const sized = new ResizeObserver(() => p.resize(el.clientWidth, el.clientHeight));
    sized.observe(el);
    return () => {
      plot.current = null;
      sized.disconnect();
      p.destroy();
    };
  }, [unit]);
  useLayoutEffect(() => {
    const mark = thresholdOf(c);
    plot.current?.draw(align([s]), from, to, mark ? [{ value: mark.value, label: labelOf(mark), unit }] : []);
  }, [unit, s, from, to, c.cond]);
  useEffect(() => plot.current?.recolor(), [theme.value]);
  return <div class="plot" ref={host} role="img" aria-label={t("chart.label", { title: c.metric })} />;
}
