import { render } from "preact";
import { App } from "./app";
import { tick } from "./clock";
import { applyPrefs } from "./prefs";
import { followHistory } from "./router";
import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/explore.css";
import "./styles/pages.css";

applyPrefs();
followHistory();
tick();
render(<App />, document.getElementById("app") as HTMLElement);
