// How another host is made to report here: a line to run on it.
import { useSignal } from "@preact/signals";
import { call } from "../api";
import { t } from "../i18n";
import { useLoad } from "../load";
import { Dialog } from "../ui/dialog";
import { Status } from "../ui/parts";

interface Line {
  command: string;
  /** Why there is no command. */
  why: string;
}

export function Join() {
  const open = useSignal(false);
  return (
    <>
      <button type="button" class="button" onClick={() => (open.value = true)}>{t("join")}</button>
      {open.value ? <JoinDialog onClose={() => (open.value = false)} /> : null}
    </>
  );
}

function JoinDialog({ onClose }: { onClose(): void }) {
  const line = useLoad("join", async (s) => (await call<Line>("/hosts/join", { signal: s })).data);
  const copied = useSignal(false);
  const text = line.data?.command ?? "";
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    copied.value = true;
  };
  return (
    <Dialog title={t("join.title")} onClose={onClose}>
      <div class="stack">
        <Status of={[line]} />
        {text ? (
          <>
            <p>{t("join.text")}</p>
            <pre class="command" data-first tabIndex={0}>{text}</pre>
            <p class="sub">{t("join.what")}</p>
          </>
        ) : line.data ? <p>{t("join.off")}<br /><span class="sub">{line.data.why}</span></p> : null}
        <div class="actions">
          {/* Browsers give the clipboard to pages of this machine and of https only. */}
          {text && navigator.clipboard ? <button type="button" class="button" onClick={() => void copy()}>{copied.value ? t("join.copied") : t("copy")}</button> : null}
          <button type="button" class="button" onClick={onClose}>{t("close")}</button>
        </div>
      </div>
    </Dialog>
  );
}
