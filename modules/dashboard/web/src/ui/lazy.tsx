// A page that is loaded when somebody goes there.
import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { ApiError } from "../api";
import { t } from "../i18n";
import { Failure } from "./error";

/** A component whose code comes later. Once it is there it is drawn at once. */
export function lazy(load: () => Promise<ComponentType>): ComponentType {
  let there: ComponentType | null = null;
  return function Lazy() {
    const state = useSignal<"loading" | "there" | "failed">(there ? "there" : "loading");
    useEffect(() => {
      if (state.value !== "loading") return;
      load().then(
        (c) => {
          there = c;
          state.value = "there";
        },
        () => (state.value = "failed"),
      );
    }, [state.value]);
    if (there) {
      const Page = there;
      return <Page />;
    }
    // A browser remembers that a file was not there, and another release has other files: both want the document anew.
    if (state.value === "failed") return <Failure error={new ApiError(0, "")} onRetry={() => location.reload()} />;
    return <div class="bar on" role="progressbar" aria-label={t("loading")} />;
  };
}
