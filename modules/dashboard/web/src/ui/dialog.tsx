// A window over the page, for what must be said or filled in before it goes on.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { say, t } from "../i18n";
import { useWrite } from "../write";

interface DialogProps {
  title: string;
  onClose(): void;
  wide?: boolean;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, wide, children }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const el = box.current as HTMLDialogElement;
    el.showModal();
    el.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => el.close();
  }, []);
  return (
    <dialog
      ref={box} class={"dialog" + (wide ? " wide" : "")} aria-labelledby="dialog-title"
      onCancel={(e: Event) => {
        e.preventDefault();
        onClose();
      }}
    >
      <h2 id="dialog-title">{title}</h2>
      {children}
    </dialog>
  );
}

interface FormProps {
  /** What the button that sends says. */
  action: string;
  danger?: boolean;
  /** Sends; the dialog closes when it comes back, and shows what failed otherwise. */
  onSend(): Promise<unknown>;
  onClose(): void;
  disabled?: boolean;
  children: ComponentChildren;
}

/** What a dialog is filled in with, and its two buttons. */
export function DialogForm({ action, danger, onSend, onClose, disabled, children }: FormProps) {
  const w = useWrite();
  return (
    <form
      class="stack" noValidate
      onSubmit={(e: Event) => {
        e.preventDefault();
        void w.run(onSend).then((ok) => ok && onClose());
      }}
    >
      {children}
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>{t("cancel")}</button>
        <button type="submit" class={"button " + (danger ? "danger" : "primary")} disabled={w.busy || disabled} aria-busy={w.busy}>{action}</button>
      </div>
    </form>
  );
}

/** Asks before something is gone. */
export function Confirm(p: { title: string; text: string; action: string; onYes(): Promise<unknown>; onClose(): void }) {
  return (
    <Dialog title={p.title} onClose={p.onClose}>
      <DialogForm action={p.action} danger onSend={p.onYes} onClose={p.onClose}>
        <p>{p.text}</p>
      </DialogForm>
    </Dialog>
  );
}
