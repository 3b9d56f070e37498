// Maintenance: for some time nothing of a host is judged.
import { now, serverNow } from "../clock";
import { say, t } from "../i18n";
import { moment } from "../text";
import { valueOf } from "../ui/field";
import { Pill } from "../ui/parts";
import { told } from "../ui/toast";
import { post, remove, useWrite } from "../write";
import type { Host } from "./data";

const spans: readonly (readonly [string, number])[] = [["30m", 1800], ["1h", 3600], ["4h", 4 * 3600], ["1d", 86400], ["7d", 7 * 86400]];

type Times = Pick<Host, "maintain_begin" | "maintain_end">;

export const inMaintenance = (h: Times, at: number): boolean => h.maintain_begin <= at && at < h.maintain_end;

export function MaintainPill({ h }: { h: Times }) {
  const at = now.value;
  if (h.maintain_end <= at) return null;
  return <Pill tone="warn">{inMaintenance(h, at) ? t("maintain.until", { time: moment(h.maintain_end, at) }) : t("maintain.from", { time: moment(h.maintain_begin, at) })}</Pill>;
}

/** The choice of how long, and the end of it where there is one to end. */
export function Maintain({ ids, some, onDone }: { ids: readonly number[]; some: boolean; onDone(): void }) {
  const w = useWrite();
  const done = (ok: boolean) => {
    if (!ok) return;
    told(t("saved"));
    onDone();
  };
  return (
    <>
      <select
        class="field add" aria-label={t("maintain")} value="" disabled={w.busy}
        onChange={(e: Event) => {
          const seconds = Number(valueOf(e));
          (e.currentTarget as HTMLSelectElement).value = "";
          if (!seconds) return;
          const begin = Math.floor(serverNow());
          void w.run(() => post("/host/maintain", { ids, maintain_begin: begin, maintain_end: begin + seconds })).then(done);
        }}
      >
        <option value="">{t("maintain")}</option>
        {spans.map(([name, seconds]) => <option key={name} value={String(seconds)}>{t("maintain.for", { span: name })}</option>)}
      </select>
      {some ? <button type="button" class="button" disabled={w.busy} onClick={() => void w.run(() => remove("/host/maintain", { ids })).then(done)}>{t("maintain.end")}</button> : null}
      {w.error ? <span class="bad-text" role="alert">{say(w.error)}</span> : null}
    </>
  );
}
