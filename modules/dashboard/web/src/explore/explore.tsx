// The page: two lists and the charts of what is chosen in them.
import { useEffect } from "preact/hooks";
import { count, t } from "../i18n";
import { Segment } from "../ui/segment";
import { Card } from "./card";
import { followCharts, groups, inView, shown } from "./charts";
import { Empty } from "./empty";
import { followLists } from "./lists";
import { CounterPicker, EndpointPicker } from "./pickers";
import { show, view } from "./state";
import { Toolbar } from "./toolbar";
import { paneOf, type Pane } from "./view";

export function Explore() {
  useEffect(() => {
    const ends = [followLists(), followCharts()];
    return () => ends.forEach((end) => end());
  }, []);
  const v = view.value;
  const pane = paneOf(v);
  const all = groups.value;
  const big = v.big === "" ? undefined : all.find((g) => g.key === v.big);
  const legend = v.by === "host" ? t("legend.counter") : v.by === "counter" ? t("legend.endpoint") : t("legend.series");
  const tab = (name: Pane, n: number) => [name, n > 0 ? `${t(name)} ${count(n)}` : t(name)] as const;
  return (
    <div class={"explore pane-" + pane}>
      <h1 class="hidden">{t("explore")}</h1>
      <div class="steps">
        <Segment<Pane>
          label={t("explore")} value={pane} options={[tab("endpoints", v.endpoints.length), tab("counters", v.counters.length), tab("charts", inView.value.shown)]}
          onChange={(p) => show({ pane: p }, true)}
        />
      </div>
      <EndpointPicker />
      <CounterPicker />
      <section class="charts" aria-label={t("charts")}>
        <Toolbar />
        {shown.value && shown.value.missing.length > 0 ? <div class="note warn">{t("partial", { nodes: shown.value.missing.join(", ") })}</div> : null}
        {inView.value.shown < inView.value.all ? <div class="note warn">{t("cut", { n: count(inView.value.shown), all: count(inView.value.all) })}</div> : null}
        {all.length === 0 ? (
          <Empty />
        ) : (
          <div class={"cards" + (big || all.length === 1 ? " one" : "")}>
            {(big ? [big] : all).map((g) => <Card key={g.key} g={g} big={g === big} legend={legend} />)}
          </div>
        )}
      </section>
    </div>
  );
}
