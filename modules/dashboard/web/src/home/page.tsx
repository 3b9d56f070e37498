// Home: how the road from the agents to people is, and which daemon says what.
import type { ComponentChildren } from "preact";
import { call } from "../api";
import { format } from "../explore/units";
import { Link } from "../frame";
import { age, count, t, type Key } from "../i18n";
import { useLoad } from "../load";
import { Head, Pill, Status, type Tone } from "../ui/parts";

type State = "ok" | "note" | "unready" | "away";

interface Daemon {
  name: string;
  addr: string;
  state: State;
  words: string[];
  counted: boolean;
}

/** Rates are a second and null while they are not known; ages are seconds, -1 when nobody says. */
interface Health {
  road: {
    in: number | null; stored: number | null; refused: number | null; spooled: number; stale: number;
    rules: number; rules_age: number; rows_age: number; events: number; lag_sec: number; open: number;
  };
  refused: { daemon: string; addr: string; reason: string; n: number; rate: number | null }[];
  daemons: Daemon[];
  partial: string[];
}

const pace = 10; // seconds
/** From which age on old rules are told by an alarm, in seconds. */
const oldRules = 300;
const shownReasons = 8;

const tones: Readonly<Record<State, Tone>> = { ok: "ok", note: "warn", unready: "bad", away: "bad" };
const order: readonly State[] = ["away", "unready", "note", "ok"];

export function Home() {
  const health = useLoad("fleet", async (signal) => (await call<Health>("/fleet/health", { signal })).data, { every: pace, keep: true });
  const h = health.data;
  return (
    <div class="page home">
      <header class="page-head"><h1>{t("home")}</h1></header>
      <Status of={[health]} />
      {h ? (
        <>
          <Road h={h} />
          <Daemons h={h} />
          <Refused h={h} />
        </>
      ) : health.error === null ? <div class="blank">{t("loading")}</div> : null}
    </div>
  );
}

function Tile({ name, value, tone, children }: { name: Key; value: ComponentChildren; tone?: Tone | undefined; children?: ComponentChildren }) {
  return (
    <div class="tile">
      <dt>{t(name)}</dt>
      <dd>
        <b class={tone ? tone + "-text" : undefined}>{value}</b>
        {children ? <span class="sub">{children}</span> : null}
      </dd>
    </div>
  );
}

function Road({ h }: { h: Health }) {
  const r = h.road;
  const rate = (v: number | null) => (v === null ? "–" : format(v, ""));
  const old = (seconds: number) => (seconds < 0 ? "–" : age(seconds));
  return (
    <section class="section" aria-label={t("home.road")}>
      <dl class="tiles">
        <Tile name="home.in" value={rate(r.in)}>{t("home.a.second")}</Tile>
        <Tile name="home.stored" value={rate(r.stored)}>{t("home.a.second")}</Tile>
        <Tile name="home.spooled" value={count(r.spooled)} tone={r.spooled > 0 ? "warn" : undefined}>
          {r.stale > 0 ? t("home.stale", { n: count(r.stale) }) : t("home.points")}
        </Tile>
        <Tile name="home.refused" value={rate(r.refused)} tone={(r.refused ?? 0) > 0 ? "warn" : undefined}>{t("home.a.second")}</Tile>
        <Tile name="home.rules" value={old(r.rules_age)} tone={r.rules_age > oldRules ? "bad" : undefined}>{t("home.rules.n", { n: count(r.rules), age: old(r.rows_age) })}</Tile>
        <Tile name="home.events" value={count(r.events)} tone={r.events > 1000 ? "bad" : undefined}>{t("home.lag", { n: count(r.lag_sec) })}</Tile>
        <Tile name="home.open" value={<Link href="/alarms" class="plain">{count(r.open)}</Link>}>{t("home.problems")}</Tile>
      </dl>
      {h.partial.length > 0 ? <div class="note">{t("partial", { nodes: h.partial.join(", ") })}</div> : null}
    </section>
  );
}

/** Who is not well comes first, and of the others that they are. */
function Daemons({ h }: { h: Health }) {
  const rows = h.daemons.toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const ill = rows.filter((d) => d.state !== "ok").length;
  return (
    <section class="section">
      <div class="section-head">
        <h2>{t("home.daemons")}</h2>
        <Pill tone={ill === 0 ? "ok" : "warn"}>{ill === 0 ? t("home.all.well") : t("home.some.ill", { n: ill, all: rows.length })}</Pill>
      </div>
      <table class="grid daemons">
        <Head columns={[[t("home.state"), "tight"], [t("home.daemon"), "tight"], [t("home.says"), "main"]]} />
        <tbody>
          {rows.map((d) => (
            <tr key={d.name + d.addr}>
              <td class="tight"><Pill tone={tones[d.state]}>{t(`home.is.${d.state}`)}</Pill></td>
              <td class="who"><b>{d.name}</b> <span class="mono sub">{d.addr}</span></td>
              <td class="main mono">
                {d.words.map((w, i) => <div key={i}>{w}</div>)}
                {d.state !== "away" && !d.counted ? <div class="sub">{t("home.uncounted")}</div> : null}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Refused({ h }: { h: Health }) {
  if (h.refused.length === 0) return null;
  return (
    <section class="section">
      <div class="section-head"><h2>{t("home.refused.why")}</h2> <span class="sub">{t("home.since.start")}</span></div>
      <table class="grid refusals">
        <Head columns={[[t("home.daemon")], [t("home.reason"), "main"], [t("home.points"), "num"], [t("home.a.second"), "num"]]} />
        <tbody>
          {h.refused.slice(0, shownReasons).map((r) => (
            <tr key={r.daemon + r.addr + r.reason}>
              <td class="who"><b>{r.daemon}</b> <span class="mono sub">{r.addr}</span></td>
              <td class="main mono">{r.reason}</td>
              <td class="num">{count(r.n)}</td>
              <td class="num">{r.rate === null ? "–" : format(r.rate, "")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
