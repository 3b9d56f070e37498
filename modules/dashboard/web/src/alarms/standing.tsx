// What the judges know of open alarms: whose series has stopped, and who works on which.
import { call } from "../api";
import { now } from "../clock";
import { age, say, t } from "../i18n";
import { useLoad, type Loaded } from "../load";
import { moment } from "../text";
import { Pill } from "../ui/parts";
import { told } from "../ui/toast";
import { post, remove, useWrite } from "../write";

/** Times are Unix seconds, 0 for unknown. */
export interface Standing {
  event_id: string;
  last_point: number;
  stopped: boolean;
  /** When the alarm is closed if no point comes. */
  closes_at: number;
  host_gone: boolean;
  acked: boolean;
  acked_by: string;
  acked_at: number;
}

interface Standings {
  of: ReadonlyMap<string, Standing>;
  /** Judges that did not answer. */
  missing: readonly string[];
}

const pace = 10; // seconds

/** Of all open alarms of which there is something to say, or of the one with this id; "" asks for nothing. */
export const useStandings = (key: "" | "all" | `id ${string}`): Loaded<Standings> =>
  useLoad(key && "standings " + key, async (signal) => {
    const a = await call<Standing[]>("/alarm/problems" + (key === "all" ? "" : "?event_id=" + encodeURIComponent(key.slice(3))), { signal });
    return { of: new Map(a.data.map((s) => [s.event_id, s])), missing: a.missing };
  }, { every: pace, keep: true });

/** That judges did not answer, so that what is said here is not all. */
export function Silent({ of }: { of: Loaded<Standings> }) {
  if (of.error) return <div class="note">{t("standing.away", { text: say(of.error) })}</div>;
  const { missing } = of.data ?? { missing: [] };
  return missing.length > 0 ? <div class="note">{t("standing.partial", { nodes: missing.join(", ") })}</div> : null;
}

const stoppedText = (s: Standing, at: number): string =>
  (s.last_point ? t("standing.stopped.for", { age: age(at - s.last_point) }) : t("standing.stopped.unknown")) + (s.closes_at ? " " + t("standing.closes", { time: moment(s.closes_at, at) }) : "");

/** In a row: what its alarm can not say by itself. */
export function Marks({ s }: { s: Standing | undefined }) {
  if (!s) return null;
  const at = now.value;
  return (
    <>
      {s.acked ? <> <Pill tone="info">{t("ack.pill", { who: s.acked_by })}</Pill></> : null}
      {s.stopped ? <span class="in-line" title={stoppedText(s, at)}> <Pill tone="warn">{t("standing.stopped")}{s.last_point ? " " + age(at - s.last_point) : ""}</Pill></span> : null}
      {s.host_gone ? <span class="in-line" title={t("standing.gone.text")}> <Pill tone="warn">{t("standing.gone")}</Pill></span> : null}
    </>
  );
}

/** Beside the other facts of an alarm. */
export function Facts({ s }: { s: Standing | undefined }) {
  if (!s) return null;
  const at = now.value;
  return (
    <>
      {s.acked ? (
        <>
          <dt>{t("ack.row")}</dt>
          <dd><b>{s.acked_by || t("ack.somebody")}</b> {s.acked_at ? moment(s.acked_at, at) : ""} <span class="sub">{t("ack.until")}</span></dd>
        </>
      ) : null}
      {s.stopped ? <><dt>{t("standing.series")}</dt><dd><Pill tone="warn">{t("standing.stopped")}</Pill> {stoppedText(s, at)}</dd></> : null}
      {s.host_gone ? <><dt>{t("host")}</dt><dd><Pill tone="warn">{t("standing.gone")}</Pill> {t("standing.gone.text")}</dd></> : null}
    </>
  );
}

/** The button by which a person says that he works on it, or does no more. */
export function Acknowledge({ id, s, onDone }: { id: string; s: Standing | undefined; onDone(): void }) {
  const w = useWrite();
  const acked = s?.acked ?? false;
  const turn = async () => {
    if (!(await w.run(() => (acked ? remove("/alarm/ack/" + encodeURIComponent(id)) : post("/alarm/ack", { event_id: id }))))) return;
    told(t(acked ? "ack.undone" : "ack.done"));
    onDone();
  };
  return (
    <>
      <button type="button" class={"button" + (acked ? "" : " primary")} data-ack={acked ? undefined : ""} disabled={w.busy} aria-busy={w.busy} onClick={() => void turn()}>
        {acked ? t("ack.undo") : <>{t("ack")} <kbd>a</kbd></>}
      </button>
      {w.error ? <div class="failure wide" role="alert">{say(w.error)}</div> : null}
    </>
  );
}
