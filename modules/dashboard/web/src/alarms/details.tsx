// One case: its chart, what happened, and who was told.
import { useSignal } from "@preact/signals";
import { now } from "../clock";
import { age, say, t, type Key } from "../i18n";
import { useLoad } from "../load";
import { ask } from "../query";
import { Link } from "../frame";
import { moment, when } from "../text";
import { splitCounter } from "../explore/group";
import { readable } from "../explore/threshold";
import { CloseIcon } from "../ui/icons";
import { valueOf } from "../ui/field";
import { Pill, Priority, Status, type Tone } from "../ui/parts";
import { post, read, useWrite } from "../write";
import { CaseChart } from "./chart";
import { Combined } from "../rules/combined";
import { Acknowledge, Facts, Silent, useStandings } from "./standing";
import { began, chartOf, noteStates, story, type Case, type CaseEvent, type Entry, type Note, type Notice } from "./data";

const pace = 10; // seconds

export function Details({ id, known, onAcked }: { id: string; known: Case | undefined; onAcked(): void }) {
  const key = encodeURIComponent(id);
  // A link may lead to a case that the list does not show: it is over, or filtered out.
  const one = useLoad(id, async (s) => (await read<Case[]>(`/alarm/eventcases?event_id=${key}`, s))[0] ?? null, { every: pace });
  const events = useLoad(id, (s) => read<CaseEvent[]>(`/alarm/events?event_id=${key}&startTime=1&status=-1`, s), { every: pace });
  const notices = useLoad(id, (s) => read<Notice[]>(`/alarm/notices?case_id=${key}`, s), { every: pace });
  const notes = useLoad(id, (s) => read<Note[]>(`/alarm/event_note?event_id=${key}`, s), { every: pace });
  const c = one.data ?? known;
  const standing = useStandings(c && c.status !== "OK" ? `id ${id}` : "");
  const s = c && c.status !== "OK" ? standing.data?.of.get(id) : undefined;
  const close = (
    <button type="button" class="icon-button" aria-label={t("close")} title={t("close") + " (Esc)"} onClick={() => ask({ id: "" })}><CloseIcon /></button>
  );
  if (!c) {
    return (
      <aside class="details" aria-label={t("case")}>
        <header><h2>{t("case")}</h2>{close}</header>
        <Status of={[one]} />
        <div class="blank">{one.data === null ? t("case.gone") : one.error ? "" : t("loading")}</div>
      </aside>
    );
  }
  const over = c.status === "OK";
  const { metric, tags } = splitCounter(c.metric);
  const at = now.value;
  const ended = when(c.update_at);
  const start = began(c, events.data);
  const entries = story(events.data ?? [], notices.data ?? [], notes.data ?? []);
  return (
    <aside class="details" aria-label={t("case")}>
      <header>
        <Priority p={c.priority} />
        <h2 class="mono">{c.endpoint}</h2>
        {c.process_status && c.process_status !== "unresolved" ? <Pill tone="info">{stateText(c.process_status)}</Pill> : null}
        {over ? <Pill tone="ok">{t("case.ok")}</Pill> : <Pill tone="bad">{t("case.problem")}</Pill>}
        {close}
      </header>
      <div class="subject">
        <div class="mono" title={c.metric}>{metric} {tags ? <span class="sub">{tags}</span> : null}</div>
        <div class={"cond " + (over ? "ok-text" : "bad-text")}>{readable(c.cond)}</div>
        {c.note ? <div class="said-note">{c.note}</div> : null}
      </div>
      <CaseChart key={c.id} c={c} />
      <div class="actions-row">
        {over ? null : (
          <Acknowledge
            key={c.id} id={c.id} s={s}
            onDone={() => {
              [standing, one, notes].forEach((l) => l.reload());
              onAcked();
            }}
          />
        )}
        <Link class="button" href={chartOf(c, at)}>{t("case.chart")}</Link>
        {c.template_id ? <Link class="button" href={`/templates/${c.template_id}${c.strategy_id ? "?on=" + c.strategy_id : ""}`}>{t("case.rule")}</Link> : c.expression_id ? <Link class="button" href={"/expressions?edit=" + c.expression_id}>{t("case.rule")}</Link> : null}
        <Link class="button" href={"/hosts?q=" + encodeURIComponent(c.endpoint)}>{t("host")}</Link>
      </div>
      <dl class="facts-list">
        {start > 0 ? <><dt>{t("case.began")}</dt><dd>{moment(start, at)} <span class="sub">{t("ago", { age: age(at - start) })}</span></dd></> : null}
        {over ? (
          <>
            <dt>{t("case.ended")}</dt>
            <dd>{moment(ended, at)} <span class="sub">{start > 0 ? t("lasted", { age: age(ended - start) }) : t("ago", { age: age(at - ended) })}</span></dd>
          </>
        ) : null}
        <dt>{t("case.rule")}</dt><dd class="mono">{c.func} {c.step ? <span class="sub">{t("case.told", { n: c.current_step ?? 0, max: c.step })}</span> : null}</dd>
        <Facts s={s} />
        <dt>{t("case")}</dt><dd class="mono id">{c.id}</dd>
      </dl>
      <Status of={[one, events, notices, notes]} />
      {over ? null : <Silent of={standing} />}
      {c.id.startsWith("m_") && !over ? (
        <section class="conditions" aria-label={t("combined")}>
          <h3>{t("combined")}</h3>
          <Combined of={{ event_id: c.id }} none={t("combined.unknown")} whole />
        </section>
      ) : null}
      <AddNote id={c.id} onDone={() => [notes, one].forEach((l) => l.reload())} />
      <ol class="story">
        {entries.map((e) => <Line key={e.kind + (e.kind === "note" ? e.ts + e.note.user : e.kind === "event" ? e.event.id : e.notice.id)} e={e} at={at} />)}
        {events.data && notices.data && entries.length === 0 ? <li class="blank">{t("case.noevents")}</li> : null}
      </ol>
    </aside>
  );
}

function Line({ e, at }: { e: Entry; at: number }) {
  const time = <time>{moment(e.ts, at)}</time>;
  switch (e.kind) {
    case "event":
      return (
        <li>
          {time}
          <span>
            {e.event.status === 0 ? <><b class="bad-text">{t("case.problem")}</b> {e.event.step}</> : <b class="ok-text">{t("case.ok")}</b>} <span class="mono">{readable(e.event.cond)}</span>
          </span>
        </li>
      );
    case "notice":
      return (
        <li class="told">
          {time}
          <span>
            {t("told", { channel: e.notice.channel, who: e.notice.receiver })} · <span class={toneOf(e.notice.result) + "-text"}>{result(e.notice.result)}</span>
            {e.notice.attempts > 1 ? <span class="sub"> {t("tries", { n: e.notice.attempts })}</span> : null}
            {e.notice.answer ? <span class="answer mono">{e.notice.answer}</span> : null}
          </span>
        </li>
      );
    case "note":
      return (
        <li>
          {time}
          <span><b>{e.note.user}</b> {e.note.status === "comment" ? null : <Pill tone="info">{stateText(e.note.status)}</Pill>} {e.note.note}</span>
        </li>
      );
  }
}

export const stateText = (status: string): string => ((noteStates as readonly string[]).includes(status) ? t(`state.${status}` as Key) : status);

/** What a person has to say of a case. */
function AddNote({ id, onDone }: { id: string; onDone(): void }) {
  const text = useSignal("");
  const status = useSignal<string>("comment");
  const w = useWrite();
  const send = async (e: Event) => {
    e.preventDefault();
    if (text.value.trim() === "") return;
    if (!(await w.run(() => post("/alarm/event_note", { event_id: id, note: text.value.trim(), status: status.value })))) return;
    text.value = "";
    status.value = "comment";
    onDone();
  };
  return (
    <form class="note-form" onSubmit={(e: Event) => void send(e)}>
      <select class="field" aria-label={t("note.state")} value={status.value} onChange={(e: Event) => (status.value = valueOf(e))}>
        {noteStates.map((s) => <option key={s} value={s}>{stateText(s)}</option>)}
      </select>
      <input class="field" value={text.value} aria-label={t("note.say")} placeholder={t("note.say")} autocomplete="off" onInput={(e: Event) => (text.value = valueOf(e))} />
      <button type="submit" class="button" disabled={w.busy || text.value.trim() === ""} aria-busy={w.busy}>{t("note.add")}</button>
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
    </form>
  );
}

const toneOf = (result: string): Tone => (result === "sent" ? "ok" : result === "failed" ? "bad" : result === "queued" ? "info" : "none");

function result(r: string): string {
  switch (r) {
    case "sent": return t("notice.sent");
    case "failed": return t("notice.failed");
    case "queued": return t("notice.queued");
    case "dup": return t("notice.dup");
    case "disabled": return t("notice.disabled");
    default: return r;
  }
}
