// Disabling: for some time nobody is told of a host, a template, a strategy or a binding.
import { useSignal } from "@preact/signals";
import { now } from "../clock";
import { count, t } from "../i18n";
import { useLoad, type Loaded } from "../load";
import { Link } from "../frame";
import { moment } from "../text";
import { Dialog, DialogForm } from "../ui/dialog";
import { Field, Text } from "../ui/field";
import { Pill, Status } from "../ui/parts";
import { Segment } from "../ui/segment";
import { told } from "../ui/toast";
import { post, read, remove, useWrite } from "../write";

/** What is disabled; ids that the type does not use are missing. */
export interface Target {
  type: 1 | 2 | 3 | 4 | 5;
  host_id?: number;
  tpl_id?: number;
  strategy_id?: number;
  grp_id?: number;
}

interface Disabling extends Required<Target> {
  id: number;
  begin_ts: number;
  end_ts: number;
  reason: string;
  operator: string;
  hostname: string;
  tpl_name: string;
  metric: string;
  grp_name: string;
}

interface Previewed {
  id: number;
  metric: string;
  note: string;
  leaf_tpl: { id: number; name: string };
  host_count: number;
}

/** What a disable would hide; lists are cut, numbers are not. */
interface Preview {
  hosts: string[];
  host_count: number;
  strategies: Previewed[];
  strategy_count: number;
  pair_count: number;
  instead: Previewed[];
  instead_count: number;
  expression_count: number;
}

const spans = ["10m", "30m", "1h", "3h", "6h", "1d", "3d", "1w", "2w"] as const;
const most = 8; // strategies that a preview names

/** The window in which something is disabled: for how long, why, and what that hides. */
export function Disable({ targets, name, onDone, onClose }: { targets: readonly Target[]; name: string; onDone(): void; onClose(): void }) {
  const span = useSignal<(typeof spans)[number]>("1h");
  const reason = useSignal("");
  return (
    <Dialog title={t("disable.title", { name })} onClose={onClose}>
      <DialogForm
        action={t("disable.do")} onClose={onClose}
        onSend={async () => {
          for (const x of targets) await post("/alarm/disable", { ...x, duration: span.value, reason: reason.value.trim() });
          told(t("disable.done", { span: span.value }));
          onDone();
        }}
      >
        <div class="labelled spans">
          <span class="label">{t("disable.for")}</span>
          <Segment label={t("disable.for")} value={span.value} options={spans.map((s) => [s, s] as const)} onChange={(s) => (span.value = s)} />
        </div>
        <Field label={t("disable.reason")}><Text class="field" name="reason" value={reason.value} first onText={(s) => (reason.value = s)} /></Field>
        {targets.length === 1 ? <Hidden of={targets[0] as Target} /> : <p>{t("disable.many", { n: count(targets.length) })}</p>}
      </DialogForm>
    </Dialog>
  );
}

function Hidden({ of }: { of: Target }) {
  const seen = useLoad("preview " + JSON.stringify(of), (_s) => post<Preview>("/alarm/disable/preview", of));
  const p = seen.data;
  const line = (x: Previewed) => (
    <li key={x.id + " " + x.leaf_tpl.id}>
      <span class="mono">{x.metric}</span> <span class="sub">{x.note || x.leaf_tpl.name}{p && p.host_count > 1 ? " · " + t("disable.on", { n: count(x.host_count) }) : ""}</span>
    </li>
  );
  const rest = (shown: number, all: number) => (all > shown ? <li class="sub">{t("disable.more", { n: count(all - shown) })}</li> : null);
  return (
    <div class="labelled hidden-rules" aria-live="polite">
      <Status of={[seen]} />
      {p === undefined ? <span class="sub">{seen.error === null ? t("loading") : ""}</span> : p.pair_count + p.expression_count === 0 ? <p>{t("disable.nothing")}</p> : (
        <>
          <b>{t("disable.hides", { rules: count(p.strategy_count), hosts: count(p.host_count) })}</b>
          <ul class="plain-list">{p.strategies.slice(0, most).map(line)}{rest(Math.min(most, p.strategies.length), p.strategy_count)}</ul>
          {p.host_count > 1 ? <span class="sub mono clip-lines">{p.hosts.slice(0, most).join(" ")}{p.host_count > most ? " …" : ""}</span> : null}
          {p.expression_count > 0 ? <span>{t("disable.expressions", { n: count(p.expression_count) })}</span> : null}
          {p.instead_count > 0 ? (
            <>
              <b>{t("disable.instead")}</b>
              <ul class="plain-list">{p.instead.slice(0, most).map(line)}{rest(Math.min(most, p.instead.length), p.instead_count)}</ul>
            </>
          ) : null}
        </>
      )}
    </div>
  );
}

/** What is disabled now, of all or of what query selects. */
export const useDisabled = (query = ""): Loaded<{ total: number; disables: Disabling[] }> =>
  useLoad("disabled " + query, async (s) => {
    const a = await read<{ total: number; disables: Disabling[] | null }>("/alarm/disable?active=1&limit=100" + query, s);
    return { total: a.total, disables: a.disables ?? [] };
  }, { every: 10 });

/** The list of that, with a button that ends each; nothing when there is none. */
export function DisabledNow({ of, onEnd }: { of: ReturnType<typeof useDisabled>; onEnd?: (() => void) | undefined }) {
  const w = useWrite();
  const at = now.value;
  const rows = (of.data?.disables ?? []).filter((d) => d.end_ts > at);
  if (rows.length === 0) return of.error === null ? null : <Status of={[of]} />;
  const all = of.data?.total ?? rows.length;
  return (
    <section class="section disabled-now">
      <div class="section-head"><h2>{t("disable.now")} <span class="count">{count(all)}</span></h2></div>
      {w.error ? <Status of={[{ data: undefined, error: w.error, busy: false, reload: w.clear }]} /> : null}
      <table class="grid blocks">
        <tbody>
          {rows.map((d) => (
            <tr key={d.id}>
              <td class="tight sub">{t(`disable.type.${d.type}`)}</td>
              <td class="main"><span class="chain"><What d={d} /></span></td>
              <td class="tight"><Pill tone="warn">{t("disable.until", { time: moment(d.end_ts, at) })}</Pill></td>
              <td class="sub">{[d.operator, d.reason].filter((s) => s !== "").join(": ")}</td>
              <td class="tools-col">
                <button
                  type="button" class="button small" disabled={w.busy} aria-label={`${t("disable.end")}: ${labelOf(d)}`}
                  onClick={() => void w.run(() => remove("/alarm/disable/" + d.id)).then((ok) => {
                    if (!ok) return;
                    told(t("disable.ended"));
                    of.reload();
                    onEnd?.();
                  })}
                >
                  {t("disable.end")}
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {all > rows.length ? <span class="sub">{t("disable.more", { n: count(all - rows.length) })}</span> : null}
    </section>
  );
}

const labelOf = (d: Disabling): string => [d.metric, d.hostname, d.grp_name, d.type === 2 || d.type === 5 ? d.tpl_name : ""].filter((s) => s !== "").join(" ");

function What({ d }: { d: Disabling }) {
  const host = d.host_id ? <Link key="h" href={"/hosts/" + d.host_id} class="mono">{d.hostname || "#" + d.host_id}</Link> : null;
  const tpl = d.tpl_id ? <Link key="t" href={"/templates/" + d.tpl_id}>{d.tpl_name || "#" + d.tpl_id}</Link> : null;
  switch (d.type) {
    case 1: return host;
    case 2: return tpl;
    case 5: return <>{tpl}<span class="sub">·</span><Link href={"/hostgroups/" + d.grp_id}>{d.grp_name || "#" + d.grp_id}</Link></>;
    default: return <><span class="mono">{d.metric || "#" + d.strategy_id}</span><span class="sub">{d.tpl_name}</span>{host ? <span class="sub">·</span> : null}{host}</>;
  }
}

/** Until when something is disabled; nothing when it is not. */
export function DisabledPill({ until, why }: { until: number; why?: string | undefined }) {
  const at = now.value;
  return until > at ? <span title={why}><Pill tone="warn">{t("disable.until", { time: moment(until, at) })}</Pill></span> : null;
}
