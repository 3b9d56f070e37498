// How the conditions of combined rules stand on hosts: which of them hold, and since when.
import { call } from "../api";
import { now } from "../clock";
import { format } from "../explore/units";
import { Link } from "../frame";
import { count, say, t } from "../i18n";
import { useLoad } from "../load";
import { moment } from "../text";
import { Pill } from "../ui/parts";

/** Times are Unix seconds. */
interface Condition {
  strategy_id: number;
  metric: string;
  /** all(#3) < 5 */
  rule: string;
  holds: boolean;
  /** It held before a restart, and was not heard of since. */
  waits?: boolean;
  since: number;
  series: { counter: string; status: string; value: number; time: number; heard: number; silent?: boolean }[] | null;
}

interface Combination {
  serial: string;
  endpoint: string;
  action: number;
  status: string;
  since: number;
  acked?: boolean;
  count: number;
  holds: number;
  members: Condition[] | null;
  unheard: number;
}

const pace = 10; // seconds
const listed = 100; // hosts

interface Props {
  /** Of a rule by its serial, or of one alarm. */
  of: { serial: string } | { event_id: string };
  /** A condition in words, where its strategy is known. */
  name?(strategy: number): string | undefined;
  /** What is said when nothing is known. */
  none: string;
  /** Of one alarm its only host needs no name, and all is shown. */
  whole?: boolean;
}

export function Combined({ of, name, none, whole }: Props) {
  const query = "serial" in of ? "serial=" + encodeURIComponent(of.serial) : "event_id=" + encodeURIComponent(of.event_id);
  const load = useLoad("combined " + query, (signal) => call<{ total: number; combinations: Combination[] | null }>(`/alarm/combinations?${query}&limit=${listed}`, { signal }), { every: pace });
  const a = load.data;
  const rows = [...(a?.data.combinations ?? [])].sort((x, y) => y.holds / y.count - x.holds / x.count || x.endpoint.localeCompare(y.endpoint));
  return (
    <div class="combined">
      {load.error ? <div class="sub">{t("combined.away", { text: say(load.error) })}</div> : null}
      {a && a.missing.length > 0 ? <div class="sub">{t("standing.partial", { nodes: a.missing.join(", ") })}</div> : null}
      {a && rows.length === 0 ? <div class="sub">{none}</div> : null}
      {rows.map((c) => {
        const key = c.endpoint + "\n" + c.action;
        const sum = (
          <>
            <Pill tone={c.status === "PROBLEM" ? "bad" : c.holds > 0 ? "warn" : "ok"}>{t("combined.holds", { n: c.holds, all: c.count })}</Pill>
            {c.status === "PROBLEM" && c.since ? <span class="sub">{t("combined.open", { time: moment(c.since, now.value) })}</span> : null}
          </>
        );
        if (whole) return <div key={key}><div class="combined-sum">{sum}</div><Members c={c} name={name} /></div>;
        return (
          <details key={key} open={c.holds > 0 && rows.length <= 3}>
            <summary><span class="mono">{c.endpoint}</span> {sum}</summary>
            <Members c={c} name={name} />
            <Link class="link" href={"/alarms?e=" + encodeURIComponent("^" + c.endpoint + "$")}>{t("alarms")}</Link>
          </details>
        );
      })}
      {a && a.data.total > rows.length ? <div class="sub">{t("combined.more", { n: count(a.data.total - rows.length) })}</div> : null}
    </div>
  );
}

function Members({ c, name }: { c: Combination; name?: Props["name"] }) {
  const at = now.value;
  return (
    <ul class="members">
      {(c.members ?? []).map((m) => (
        <li key={m.strategy_id}>
          <span class={"alive" + (m.holds ? " bad" : " never")} aria-hidden="true" />
          <span>
            <span class="mono">{name?.(m.strategy_id) ?? `${m.metric} ${m.rule}`}</span>{" "}
            <span class={m.holds ? "bad-text" : "sub"}>
              {m.waits ? t("combined.waits") : t(m.holds ? "combined.member.holds" : "combined.member.ended", { time: moment(m.since, at) })}
            </span>
            {(m.series ?? []).map((s) => (
              <span class="sub series" key={s.counter}>
                <span class="mono">{s.counter} = {format(s.value, "")}</span> {moment(s.time, at)}{s.silent ? " · " + t("combined.silent") : ""}
              </span>
            ))}
          </span>
        </li>
      ))}
      {c.unheard > 0 ? <li><span class="alive never" aria-hidden="true" /><span class="sub">{t("combined.unheard", { n: c.unheard })}</span></li> : null}
    </ul>
  );
}
