// The upgrade of the agents: which versions there are, how far the waves are, who can
// not or will not, and the buttons to stop and to go on.
import { call } from "../api";
import { now } from "../clock";
import { Link } from "../frame";
import { count, t } from "../i18n";
import { useLoad } from "../load";
import { user } from "../session";
import { Ago, Pill, Status, type Tone } from "../ui/parts";
import { told } from "../ui/toast";
import { post, remove, useWrite } from "../write";

interface Upgrade {
  state: "running" | "stopped" | "none";
  reason?: string;
  args?: { version: string; type: number };
  ordered_at?: number;
  waves?: number[];
  wave: number;
  fleet: number;
  places: number;
  taken: number;
  counts: { waiting: number; ordered: number; upgrading: number; done: number; failed: number; left: number };
  hosts: { hostname: string; state: string; at: number; tries: number; reason?: string }[];
  more?: number;
}

interface Answer {
  upgrade: Upgrade | null;
  versions: Record<string, number>;
  claimed_twice: { hostname: string; also: string }[];
}

const pace = 10; // seconds
const shown = 12; // hosts with a reason

// States of a host that are shown one by one; "again" is told anew.
const states = ["failed", "left", "upgrading", "ordered"] as const;
type State = (typeof states)[number];

const tones: Record<State, Tone> = { failed: "bad", left: "warn", upgrading: "info", ordered: "info" };

/** Versions, the waves of an upgrade, and names that two machines claim; nothing while all is as usual. */
export function Upgrades() {
  const l = useLoad("upgrade", async (s) => (await call<Answer>("/agent/upgrade", { signal: s })).data, { every: pace, keep: true });
  const w = useWrite();
  const d = l.data;
  if (!d) return l.error === null ? null : <Status of={[l]} />;
  const versions = Object.entries(d.versions).sort((a, b) => b[1] - a[1]);
  const u = d.upgrade && d.upgrade.state !== "none" ? d.upgrade : null;
  if (!u && versions.length < 2 && d.claimed_twice.length === 0) return null;
  const admin = user.value?.admin ?? false;
  const act = (f: () => Promise<unknown>, said: string) => void w.run(f).then((ok) => {
    if (!ok) return;
    told(said);
    l.reload();
  });
  const named = (u?.hosts ?? []).map((h) => ({ ...h, state: states.find((s) => s === h.state) ?? "ordered" as const }));
  return (
    <section class="section upgrades" aria-label={t("upgrade")}>
      <div class="section-head">
        <h2>{t("upgrade.versions")}</h2>
        <span class="chips">
          {versions.map(([v, n]) => <span key={v} class="chip"><span class="mono">{v || "?"}</span> {count(n)}</span>)}
        </span>
      </div>
      {d.claimed_twice.map((c) => (
        <div key={c.hostname} class="note warn"><b class="mono">{c.hostname}</b> {t("upgrade.twice", { other: c.also })}</div>
      ))}
      {w.error ? <Status of={[{ data: undefined, error: w.error, busy: false, reload: w.clear }]} /> : null}
      {u ? (
        <>
          <div class="upgrade-row">
            <b>{t("upgrade.to", { version: u.args?.version ?? "?" })}</b>
            <Pill tone={u.state === "stopped" ? "bad" : "info"}>{t(u.state === "stopped" ? "upgrade.stopped" : "upgrade.running")}</Pill>
            <span class="sub">{t("upgrade.wave", { n: String(u.wave + 1), of: String(u.waves?.length ?? 1), percent: String(u.waves?.[u.wave] ?? 100) })}</span>
            {u.ordered_at ? <span class="sub"><Ago ts={u.ordered_at} /></span> : null}
            {admin ? (
              <span class="end">
                {u.state === "stopped" ? (
                  <button type="button" class="button small primary" disabled={w.busy} onClick={() => act(() => post("/agent/upgrade/go", {}), t("upgrade.went"))}>{t("upgrade.go")}</button>
                ) : (
                  <button type="button" class="button small" disabled={w.busy} onClick={() => act(() => post("/agent/upgrade/stop", {}), t("upgrade.stopped"))}>{t("upgrade.stop")}</button>
                )}
                <button type="button" class="button small" disabled={w.busy} onClick={() => act(() => remove("/agent/upgrade"), t("upgrade.cancelled"))}>{t("upgrade.cancel")}</button>
              </span>
            ) : null}
          </div>
          {u.reason ? <div class="note warn">{u.reason}</div> : null}
          <progress max={Math.max(1, u.fleet)} value={u.counts.done} aria-label={t("upgrade.done", { n: count(u.counts.done), all: count(u.fleet) })} />
          <span class="sub">
            {[
              t("upgrade.done", { n: count(u.counts.done), all: count(u.fleet) }), t("upgrade.under", { n: count(u.counts.ordered + u.counts.upgrading), places: count(u.places) }),
              t("upgrade.failed", { n: count(u.counts.failed) }), t("upgrade.left", { n: count(u.counts.left) }),
            ].join(" · ")}
          </span>
          {named.length > 0 ? (
            <table class="grid blocks">
              <tbody>
                {named.slice(0, shown).map((h) => (
                  <tr key={h.hostname}>
                    <td class="tight"><Pill tone={tones[h.state]}>{t(`upgrade.is.${h.state}`)}</Pill></td>
                    <td class="mono"><Link href={"/hosts?q=" + encodeURIComponent(h.hostname)}>{h.hostname}</Link></td>
                    <td class="main sub">{h.reason}</td>
                    <td class="num sub">{h.at > 0 && h.at <= now.value ? <Ago ts={h.at} /> : null}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          ) : null}
          {named.length + (u.more ?? 0) > shown ? <span class="sub">{t("upgrade.more", { n: count(named.length + (u.more ?? 0) - shown) })}</span> : null}
        </>
      ) : null}
    </section>
  );
}
