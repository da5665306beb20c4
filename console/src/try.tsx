/** The page for trying out: `/console/try`. */

import "./styles.css";
import "./try/try.css";
import "./try/cable";

import { render } from "preact";

import { applyLanguage } from "./i18n";
import { applyTheme } from "./theme";
import { TryPage } from "./try/page";

applyTheme();
applyLanguage();
render(<TryPage />, document.getElementById("app")!);
