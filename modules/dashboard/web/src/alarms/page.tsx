// The alarms: what is wrong now, and what was.
import { Fragment } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { serverNow } from "../clock";
import { count, t } from "../i18n";
import { useLoad } from "../load";
import { ask, hrefWith, param } from "../query";
import { Link } from "../frame";
import { when } from "../text";
import { splitCounter } from "../explore/group";
import { readable } from "../explore/threshold";
import { RefreshIcon } from "../ui/icons";
import { Ago, Filter, More, None, Pill, Priority, Status } from "../ui/parts";
import { Segment } from "../ui/segment";
import { read } from "../write";
import { began, chosen, grouped, perPriority, type By, type Case, type Sort } from "./data";
import { Details, stateText } from "./details";
import { Marks, Silent, useStandings, type Standing } from "./standing";

const pace = 10; // seconds
const most = 2000; // rows that the api answers at once
const spans = { "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "1y": 365 * 86400 } as const;
type Span = keyof typeof spans;
type Tab = "open" | "over";

export function Alarms() {
  const tab: Tab = param("s") === "over" ? "over" : "open";
  const span: Span = param("r") in spans ? (param("r") as Span) : "7d";
  const sort: Sort = param("sort") === "age" || param("sort") === "endpoint" ? (param("sort") as Sort) : tab === "open" ? "priority" : "age";
  const id = param("id");
  const shownRows = Number(param("n")) || 200;

  const open = useLoad(tab === "open" ? "open" : "", (s) => read<Case[]>("/alarm/eventcases?startTime=1&status=PROBLEM", s), { every: pace, keep: true });
  const over = useLoad(tab === "over" ? "over " + span : "", (s) => read<Case[]>(`/alarm/eventcases?startTime=${Math.floor(serverNow()) - spans[span]}&status=OK`, s), { every: pace, keep: true });
  const standings = useStandings(tab === "open" ? "all" : "");
  const from = tab === "open" ? open : over;
  const all = from.data ?? [];
  const rows = chosen(all, { q: param("q"), endpoint: param("e"), priority: param("p"), sort });
  const by: By = param("by") === "metric" || param("by") === "host" ? (param("by") as By) : "";
  const groups = grouped(rows.slice(0, shownRows), by);
  const seen = groups.flatMap((g) => g.rows); // as they stand on screen, for the keys
  const byPriority = perPriority(all);

  const table = useRef<HTMLTableElement>(null);
  useEffect(() => {
    const keys = (e: KeyboardEvent) => {
      const el = e.target as HTMLElement;
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) || document.querySelector("dialog[open]")) return;
      const at = seen.findIndex((c) => c.id === id);
      if (e.key === "j" && seen.length > 0) ask({ id: (seen[Math.min(at + 1, seen.length - 1)] as Case).id }, true);
      else if (e.key === "k" && seen.length > 0) ask({ id: (seen[Math.max(at - 1, 0)] as Case).id }, true);
      else if (e.key === "a" && id !== "") document.querySelector<HTMLElement>(".details [data-ack]")?.click();
      else if (e.key === "Escape" && id !== "") ask({ id: "" });
      else return;
      e.preventDefault();
    };
    document.addEventListener("keydown", keys);
    return () => document.removeEventListener("keydown", keys);
  });
  useEffect(() => {
    table.current?.querySelector("tr.on")?.scrollIntoView({ block: "nearest" });
  }, [id]);

  const head = (s: Sort, text: string, name: string) => (
    <th scope="col" class={name} aria-sort={sort === s ? (s === "age" ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => ask({ sort: s }, true)}>{text}{sort === s ? (s === "age" ? " ↓" : " ↑") : ""}</button>
    </th>
  );
  return (
    <div class={"page alarms" + (id ? " detailed" : "")}>
      <h1 id="alarms-title" class="hidden">{t("alarms")}</h1>
      <section class="board" aria-labelledby="alarms-title">
        <nav class="tabs" aria-label={t("alarms")}>
          <Link href={hrefWith({ s: "", id: "", sort: "" })} aria-current={tab === "open" ? "page" : undefined}>
            {t("alarms.open")} {tab === "open" && open.data ? <b>{count(open.data.length)}</b> : null}
          </Link>
          <Link href={hrefWith({ s: "over", id: "", sort: "" })} aria-current={tab === "over" ? "page" : undefined}>
            {t("alarms.over")} {tab === "over" && over.data ? <b>{count(over.data.length)}</b> : null}
          </Link>
        </nav>
        <div class="toolbar">
          <Filter value={param("q")} placeholder={t("alarms.filter")} onText={(q) => ask({ q }, true)} />
          <Filter value={param("e")} placeholder={t("endpoint")} onText={(e) => ask({ e }, true)} />
          <Segment
            label={t("priority")} value={param("p")}
            options={[["", t("any")] as const, ...priorities(byPriority, param("p")).map(([p, n]) => [String(p), n > 0 ? `p${p} ${count(n)}` : `p${p}`] as const)]}
            onChange={(p) => ask({ p }, true)}
          />
          <Segment<By> label={t("by.alarms")} value={by} options={[["", t("flat")], ["metric", t("by.counter")], ["host", t("by.host")]]} onChange={(x) => ask({ by: x }, true)} />
          {tab === "over" ? <Segment<Span> label={t("range")} value={span} options={(Object.keys(spans) as Span[]).map((s) => [s, s] as const)} onChange={(r) => ask({ r: r === "7d" ? "" : r }, true)} /> : null}
          <div class="end">
            <button type="button" class="button" aria-busy={from.busy} onClick={from.reload}><RefreshIcon /> {t("refresh")} <kbd>r</kbd></button>
          </div>
        </div>
        <Status of={[from]} />
        {tab === "open" && all.length > 0 ? <Silent of={standings} /> : null}
        {all.length >= most ? <div class="note warn">{t("alarms.cut", { n: count(most) })}</div> : null}
        {seen.length > 0 ? (
          <table class="grid cases" ref={table}>
            <thead>
              <tr>
                {head("priority", t("priority.short"), "pr")}
                {head("endpoint", t("endpoint"), "host")}
                <th scope="col" class="what">{t("case.what")}</th>
                <th scope="col" class="note-col">{t("note")}</th>
                <th scope="col" class="step">{t("case.steps")}</th>
                {head("age", tab === "open" ? t("case.age") : t("case.began"), "num")}
                {tab === "over" ? <th scope="col" class="num ended">{t("case.ended")}</th> : null}
              </tr>
            </thead>
            <tbody>
              {groups.map((g) => (
                <Fragment key={g.name}>
                  {by === "" ? null : <tr class="group"><th scope="colgroup" colSpan={7}>{g.name} <span class="sub">· {count(g.rows.length)}</span></th></tr>}
                  {g.rows.map((c) => <Row key={c.id} c={c} s={tab === "open" ? standings.data?.of.get(c.id) : undefined} on={c.id === id} over={tab === "over"} />)}
                </Fragment>
              ))}
            </tbody>
          </table>
        ) : all.length > 0 ? (
          <div class="blank">{t("alarms.nomatch")} <button type="button" class="link" onClick={() => ask({ q: "", e: "", p: "" })}>{t("clear.filters")}</button></div>
        ) : (
          <None of={from}>
            {tab === "open" ? <><b>{t("alarms.none")}</b><span>{t("alarms.none.text")}</span></> : t("alarms.never")}
          </None>
        )}
        <More shown={seen.length} all={rows.length} onMore={() => ask({ n: String(shownRows + 200) }, true)} />
      </section>
      {id ? <Details id={id} known={all.find((c) => c.id === id)} onAcked={standings.reload} /> : null}
    </div>
  );
}

/** The priorities there are, and the one that is chosen. */
function priorities(there: [number, number][], p: string): [number, number][] {
  if (p === "" || there.some(([n]) => String(n) === p)) return there;
  return [...there, [Number(p), 0] as [number, number]].sort((a, b) => a[0] - b[0]);
}

function Row({ c, s, on, over }: { c: Case; s: Standing | undefined; on: boolean; over: boolean }) {
  const { metric, tags } = splitCounter(c.metric);
  return (
    <tr
      class={on ? "on" : ""}
      onClick={(e: MouseEvent) => {
        if ((e.target as HTMLElement).closest("a") === null && String(getSelection()) === "") ask({ id: on ? "" : c.id });
      }}
    >
      <td class="pr"><Priority p={c.priority} /></td>
      <td class="host mono"><Link href={hrefWith({ id: c.id })} class="plain">{c.endpoint}</Link></td>
      <td class="what mono">
        <span title={c.metric}>{metric} {tags ? <span class="sub">{tags}</span> : null}</span>
        <span class="sub">{c.func} {readable(c.cond)}{c.process_status && c.process_status !== "unresolved" ? <> <Pill tone="info">{stateText(c.process_status)}</Pill></> : null}<Marks s={s} /></span>
      </td>
      <td class="note-col" title={c.note ?? ""}>{c.note}</td>
      <td class="step">{c.step ? `${c.current_step ?? 0}/${c.step}` : (c.current_step ?? 0)}</td>
      <td class="num"><Ago ts={began(c)} /></td>
      {over ? <td class="num ended"><Pill tone="ok"><Ago ts={when(c.update_at)} /></Pill></td> : null}
    </tr>
  );
}
