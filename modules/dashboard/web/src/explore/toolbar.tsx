// What is shown of the chosen series, and of when.
import { now } from "../clock";
import { age, t } from "../i18n";
import { RefreshIcon } from "../ui/icons";
import { Segment } from "../ui/segment";
import { spanLabel } from "./axis";
import { busy, endsNow, inView, livePace, newest, refresh } from "./charts";
import { refreshLists } from "./lists";
import { splitCounter } from "./group";
import { show, view } from "./state";
import { formatThreshold, labelOf } from "./threshold";
import { ranges, type Range } from "./view";

/** Everything anew, as the key r does it. */
export function refreshAll(): void {
  void refresh();
  refreshLists();
}

export function Toolbar() {
  const v = view.value;
  return (
    <div class="toolbar">
      <Segment<Range>
        label={t("range")} value={endsNow.value ? v.range : null} options={(Object.keys(ranges) as Range[]).map((r) => [r, r] as const)}
        onChange={(range) => show({ range, from: null, to: null })}
      />
      {v.from !== null && v.to !== null ? (
        <button type="button" class="button span" title={t("range.back", { range: v.range })} onClick={() => show({ from: null, to: null })}>
          {spanLabel(v.from, v.to, now.value)} <span aria-hidden="true">×</span>
          <span class="hidden">{t("range.back", { range: v.range })}</span>
        </button>
      ) : null}
      {v.thresholds.map((x) => (
        <button key={formatThreshold(x)} type="button" class="button threshold" title={t("threshold.remove")} onClick={() => show({ thresholds: v.thresholds.filter((y) => y !== x) })}>
          <span class="name">{splitCounter(x.counter).metric}</span> {labelOf(x)} <span aria-hidden="true">×</span>
          <span class="hidden">{t("threshold.remove")}</span>
        </button>
      ))}
      <Segment label={t("by")} value={v.by} options={[["host", t("by.host")], ["counter", t("by.counter")], ["all", t("by.all")]]} onChange={(by) => show({ by, big: "" })} />
      <Segment label={t("cf")} value={v.cf} options={[["AVERAGE", "AVG"], ["MAX", "MAX"], ["MIN", "MIN"]]} onChange={(cf) => show({ cf })} />
      <div class="end">
        {inView.value.shown > 0 && newest.value > 0 ? <span class="newest">{t("newest", { age: age(now.value - newest.value) })}</span> : null}
        {endsNow.value ? (
          <button type="button" class="button toggle" aria-pressed={v.live} title={t("live.title", { n: livePace })} onClick={() => show({ live: !v.live }, true)}>
            <span class="dot" aria-hidden="true" />
            {t("live")}
          </button>
        ) : null}
        <button type="button" class="button" id="refresh" aria-busy={busy.value} onClick={refreshAll}>
          <RefreshIcon /> {t("refresh")} <kbd>r</kbd>
        </button>
      </div>
    </div>
  );
}
