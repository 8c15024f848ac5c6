/** The page. Its tests lie in page/ by what they are about; one edge, worker and browser serve them all. */
import "./page/waits.ts";
import "./page/picture.ts";
import "./page/kept.ts";
import "./page/comparison.ts";
import "./page/question.ts";
import "./page/dialogs.ts";
import "./page/several.ts";
import "./page/looks.ts";
import "./page/here.ts";
import "./page/key.ts";
