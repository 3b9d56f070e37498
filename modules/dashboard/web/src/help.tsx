// The keys, and the language of the searches.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t, type Key } from "./i18n";

export const helpOpen = signal(false);

export function Help() {
  const box = useRef<HTMLDialogElement>(null);
  const open = helpOpen.value;
  useEffect(() => {
    const el = box.current as HTMLDialogElement;
    if (open && !el.open) el.showModal();
    else if (!open && el.open) el.close();
  }, [open]);
  const row = (keys: string[], text: Key) => (
    <tr>
      <td>{keys.map((k) => <kbd key={k}>{k}</kbd>)}</td>
      <td>{t(text)}</td>
    </tr>
  );
  return (
    <dialog ref={box} class="help" aria-labelledby="help-title" onClose={() => (helpOpen.value = false)} onClick={(e: MouseEvent) => e.target === e.currentTarget && (helpOpen.value = false)}>
      <h2 id="help-title">{t("keys")}</h2>
      <table>
        <tbody>
          {row(["/"], "help.search")}
          {row(["r"], "help.refresh")}
          {row(["g", "o"], "help.home")}
          {row(["g", "a"], "help.alarms")}
          {row(["g", "e"], "help.explore")}
          {row(["g", "h"], "help.hosts")}
          {row(["g", "g"], "help.hostgroups")}
          {row(["g", "t"], "help.templates")}
          {row(["g", "x"], "help.expressions")}
          {row(["j", "k"], "help.cases")}
          {row(["a"], "help.ack")}
          {row(["?"], "help.help")}
          {row(["↑", "↓"], "help.move")}
          {row(["Shift"], "help.range")}
          {row(["Space", "Ctrl"], "help.toggle")}
          {row(["Enter"], "help.only")}
          {row(["Ctrl a"], "help.all")}
          {row(["Esc"], "help.clear")}
          {row([t("help.zoom.key")], "help.zoom")}
          {row([t("help.solo.key")], "help.solo")}
          {row([t("help.hide.key")], "help.hide")}
        </tbody>
      </table>
      <p>{t("help.words")}</p>
      <form method="dialog">
        <button class="button" autofocus>{t("close")}</button>
      </form>
    </dialog>
  );
}
