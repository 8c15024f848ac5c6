/** A thousand prompts in many scripts, the same on every run: what a tokenizer is held against another one's. */

/** By language: openings, things, places. Every prompt of a language is one of each. */
const LANGUAGES: Record<string, [openings: string, things: string, places: string]> = {
	english: ["a photo of|an oil painting of|Please draw|A highly detailed, 8K render of", "a red apple|two Zebras|the word \"HELLO\"|an astronaut's café-racer", "on a table|in the rain at 5:30 p.m.|under the Milky Way"],
	german: ["ein Foto von|ein Gemälde von|Zeichne", "einem grünen Frosch|Übergrößenträgern|süßen Füchsen", "im Schnee|auf der Straße nach Köln|neben dem Fluß"],
	french: ["une photo d'|un dessin d'|l'image d'", "un éléphant rose|une cathédrale gothique|un œuf à la coque", "sur la plage|à l'aube|près d'un château"],
	spanish: ["una foto de|¡Dibuja|¿puedes pintar", "un niño con sombrero|pingüinos azules|la mañana", "en la montaña|bajo el árbol|junto al río"],
	portuguese: ["uma foto de|desenhe", "um avião|corações vermelhos|maçãs", "no chão|em São Paulo|à noite"],
	polish: ["zdjęcie|obraz przedstawiający", "żółta łódź|ćmy i świerszcze|pięć kaczek", "na łące|w Łodzi|obok źródła"],
	czech: ["fotografie|obrázek", "příliš žluťoučký kůň|červené třešně", "u řeky|v Plzni|na střeše"],
	hungarian: ["fénykép|rajz", "őszi erdő|tűzoltóautó|görögdinnye", "a hídon|Győrben|az udvaron"],
	turkish: ["fotoğraf:|çizim:", "ışıklı İstanbul|güneş gözlüklü kedi|IĞDIR ağaçları", "deniz kıyısında|gökyüzünde"],
	icelandic: ["mynd af|málverk af", "þremur ísbjörnum|æðarfugli", "við fjöll|á Þingvöllum"],
	vietnamese: ["một bức ảnh về|vẽ", "con mèo đen|chiếc thuyền gỗ|người phụ nữ đội nón lá", "trên biển|ở Hà Nội|dưới ánh trăng"],
	yoruba: ["àwòrán", "ẹyẹ pupa|ọkọ̀ ojú omi", "ní ọjà|lórí ilẹ̀"],
	welsh: ["llun o|paentiad o", "ddraig goch|ŵy gwyn", "ar y mynydd|yng Nghaerdydd"],
	russian: ["фотография|Нарисуй|картина маслом:", "красное яблоко|ёжик в тумане|три медведя", "на столе|под дождём|в Санкт-Петербурге"],
	ukrainian: ["фото|малюнок", "їжак і ґава|жовті соняшники", "біля річки|у Києві"],
	serbian: ["слика|цртеж", "љубичаста ћурка|џемпер", "на њиви|у Нишу"],
	kazakh: ["сурет:", "қызыл алма|өзен мен көл", "далада|үйде"],
	greek: ["φωτογραφία|ζωγραφιά", "ένα κόκκινο μήλο|ΔΕΛΦΙΝΙΑ|γάτες στις στέγες", "στη θάλασσα|κοντά στην Αθήνα"],
	polytonic: ["ἐν ἀρχῇ|ἡ εἰκὼν", "ὁ ἥλιος|ᾠδὴ τῆς ἀγάπης", "ἐπὶ τῆς γῆς"],
	armenian: ["լուսանկար|նկարիր", "կարմիր խնձոր|երեք կատու", "սեղանի վրա|Երևանում"],
	georgian: ["ფოტო|დახატე", "წითელი ვაშლი|მთის არწივი", "მაგიდაზე|თბილისში"],
	hebrew: ["תמונה של|ציור של", "תפוח אדום|שָׁלוֹם עוֹלָם|שני חתולים", "על השולחן|בירושלים"],
	yiddish: ["אַ בילד פֿון", "אַ רויטער עפּל", "אױפֿן טיש"],
	arabic: ["صورة|ارسم|لوحة زيتية ل", "تفاحة حمراء|قطّة سوداء|كِتَابٌ", "على الطاولة|في القاهرة عام ١٩٩٩"],
	persian: ["عکس|نقاشی", "سیب قرمز|می‌خواهم گربه‌ها", "روی میز|در تهران ۱۴۰۳"],
	urdu: ["تصویر", "لال سیب|دو بلیاں", "میز پر|لاہور میں"],
	syriac: ["ܨܘܪܬܐ", "ܚܙܘܪܐ ܣܘܡܩܐ", "ܥܠ ܦܬܘܪܐ"],
	amharic: ["ፎቶ|ሥዕል", "ቀይ ፖም|ሁለት ድመቶች", "በጠረጴዛ ላይ|በአዲስ አበባ"],
	hindi: ["एक तस्वीर|चित्र बनाओ", "लाल सेब|दो बिल्लियाँ|क्षत्रिय योद्धा", "मेज़ पर|दिल्ली में १२ बजे"],
	bengali: ["একটি ছবি|আঁকো", "লাল আপেল|দুটি বিড়াল", "টেবিলের উপর|ঢাকায়"],
	gurmukhi: ["ਤਸਵੀਰ", "ਲਾਲ ਸੇਬ|ਦੋ ਬਿੱਲੀਆਂ", "ਮੇਜ਼ ਉੱਤੇ"],
	gujarati: ["ચિત્ર", "લાલ સફરજન|બે બિલાડી", "ટેબલ પર"],
	tamil: ["படம்|வரைந்து கொடு", "சிவப்பு ஆப்பிள்|இரண்டு பூனைகள்", "மேசையில்|சென்னையில்"],
	telugu: ["చిత్రం", "ఎర్ర ఆపిల్|రెండు పిల్లులు", "బల్ల మీద"],
	kannada: ["ಚಿತ್ರ", "ಕೆಂಪು ಸೇಬು|ಎರಡು ಬೆಕ್ಕುಗಳು", "ಮೇಜಿನ ಮೇಲೆ"],
	malayalam: ["ചിത്രം", "ചുവന്ന ആപ്പിൾ|രണ്ട് പൂച്ചകൾ", "മേശപ്പുറത്ത്"],
	sinhala: ["පින්තූරය", "රතු ඇපල්|ශ්‍රී ලංකාව", "මේසය මත"],
	thai: ["ภาพถ่าย|วาด", "แอปเปิ้ลสีแดง|แมวสองตัว|น้ำตก", "บนโต๊ะ|ที่กรุงเทพฯ"],
	lao: ["ຮູບ", "ໝາກໂປມສີແດງ|ນ້ຳຕົກ", "ເທິງໂຕະ"],
	khmer: ["រូបថត", "ផ្លែប៉ោមក្រហម|ឆ្មាពីរ", "លើតុ"],
	burmese: ["ဓာတ်ပုံ", "ပန်းသီးနီ|ကြောင်နှစ်ကောင်", "စားပွဲပေါ်"],
	tibetan: ["པར།", "ཀུ་ཤུ་དམར་པོ།|བྱི་ལ་གཉིས།", "ཅོག་ཙེའི་སྟེང་།"],
	mongolian: ["ᠵᠢᠷᠤᠭ", "ᠤᠯᠠᠭᠠᠨ ᠠᠯᠢᠮᠠ", "ᠰᠢᠷᠡᠭᠡ"],
	chinese: ["一张照片：|请画一幅|油画，", "红苹果|三只熊猫|穿着宇航服的马", "在桌子上|在北京的雪夜里。|，高清，4K"],
	traditional: ["一張照片：|請畫", "紅蘋果|龍與鳳凰", "在臺北|於桌上。"],
	japanese: ["写真、|油絵：|描いて、", "赤いりんご|ネコと「ハロー」の文字|㍿ロゴ|ﾊﾝｶｸのｶﾀｶﾅ", "机の上|東京タワーのそば|雨の中で…"],
	korean: ["사진:|그려 줘:|유화 ", "빨간 사과|고양이 두 마리|한복을 입은 우주인", "책상 위에|서울에서|눈 오는 밤"],
	jamo: ["사진", "고양이", "책상 위에"],
	cherokee: ["ᏗᏓᏴᎳᏛᏍᎩ", "ᎩᎦᎨ ᏒᎦᏔ", "ᎦᏍᎩᎸ"],
	hawaiian: ["he kiʻi o", "ka honu ʻōmaʻomaʻo", "ma kahakai"],
	georgianCapitals: ["ᲤᲝᲢᲝ", "ᲬᲘᲗᲔᲚᲘ ᲕᲐᲨᲚᲘ", "ᲛᲐᲒᲘᲓᲐᲖᲔ"],
	gothic: ["𐌰𐍄𐍄𐌰", "𐌿𐌽𐍃𐌰𐍂", "𐌹𐌽 𐌷𐌹𐌼𐌹𐌽𐌰𐌼"],
	emoji: ["🍎|👩‍🚀|🏳️‍🌈 flag with", "👨‍👩‍👧‍👦|👍🏽 and 👋🏿|❤️🧡💛", "🌃|🇩🇪🇯🇵|on the 🌕"],
};

/** What breaks tokenizers: blanks, forms, marks, controls, markers, long words. */
const HARD = [
	"", " ", "   ", "\t", "\n", "a", "A", "  leading", "trailing  ", "two  blanks", "tab\tand\nnew line", "line\r\nend", "no-break\u00a0space", "ideographic\u3000space", "thin\u2009space", "zero\u200bwidth", "soft\u00adhyphen",
	"left\u200eto\u200fright", "byte\ufeffmark", "\ufeffat the start", "replacement \ufffd", "control \u0001 \u0007 \u001f \u007f", "next\u0085line", "line\u2028paragraph\u2029end", "ogham\u1680space", "word\u2060joiner", "▁lower▁block", "a▁ b",
	"ﬁne ﬂuﬀy ﬃ ligatures", "Ｆｕｌｌ　ｗｉｄｔｈ ＡＢＣ１２３！", "ﾊﾞﾋﾞﾌﾞ", "½ of ¾ ㎏ ㎡", "x² + y³ = z₁", "Ⅷ and ⅳ", "①②③ ⒜ ⓐ", "ℌello 𝔚orld 𝓈𝒸𝓇𝒾𝓅𝓉 𝟙𝟚𝟛", "™ © ® № ℃ Å Ω", "ﷺ ﷲ", "ﺍﻟﺴﻼﻡ", "e\u0301 and é", "A\u030a and Å and Å", "o\u0302\u0301 ố", "ạ̈ ạ̈", "n\u0303\u0323", "각 각", "ा alone", "\u0301starts with a mark", "Z̸̡̢a̵̛͘l̷̨͝g̶̡̛o̸̧͝",
	"～ and 〜 and ~", "“curly” ‘quotes’ «guillemets» „low“", "em—dash en–dash ‐hyphen −minus", "dots… ... ‥", "don't I'll we've she'd they're it's i'm", "DON'T I'LL WE'VE", "rock'n'roll ''s 's'", "'sun 'tis 'really", "l’homme d’état", "under_score snake_case", "camelCaseWord XMLHttpRequest",
	"http://example.org/a?b=c&d=%20#e", "user@example.org", "1,234,567.89 €", "3.14159e-10", "0x1F600", "2024-12-31T23:59:59Z", "12:30", "50%", "$5.00", "#hashtag @name", "C++ & C#", "a&amp;b &lt;tag&gt;", "<b>bold</b>", "{\"json\": [1, 2]}", "\\back\\slash", "!!!???", "¿¡", "-----", "=====", "*****", "……。。。", "。、「」『』", "(((a)))", "a.b.c", "a,b,c", "ALL CAPITALS HERE", "MiXeD CaSe", "İI ıi ẞß ΣΑΣ", "Ǆ ǅ ǆ Ǳ", "ŉ ſ K",
	"</s>", "<pad>", "<unk> here", "a </s> b", "</s></s>", "<extra_id_0> and <extra_id_99>", "<|startoftext|>", "a <|endoftext|> b", "<|endoftext|>", "<|ENDOFTEXT|>", "<s>", "[CLS] [SEP]", "<|im_start|>user",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "ไม่มีช่องว่างระหว่างคำในภาษาไทยเลยแม้แต่น้อย", "北京大学生物系主任办公室内部会议", "𠮷野家 𩸽 𪚥", "𝒜𝒷𝒸", "😀😃😄😁😆😅😂🤣", "👩🏽‍💻👨🏿‍🔬", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☃️☃︎", "1️⃣2️⃣", "\ue000 private \u{f0000}", "\u{10ffff}", "\u{e0001}tag", "ᚠᚢᚦ runes", "𓂀𓅓 hieroglyphs", "𒀀𒁀 cuneiform", "⠓⠑⠇⠇⠕ braille", "♔♕♖ ♠♥ ☀☁", "→ ⇒ ∀x∈ℝ ∑ ∫ √", "░▒▓█", "♫♪", "kʰæt ɪˈŋɡlɪʃ", "mɐ̃w̃", "ꝏ ꞌ ꟼ", "Ȧḃċḋ", "q̇p̣",
	"mixed 中文 and русский и عربي together", "日本語とEnglishのmix", "한국어English섞음", "price: ₹500 ₩1000 ₿1 ₺", "αβγ mixed with abc", "Приветworld", "a\u0000b", "tail\u0000",
];

/** 1,000 prompts: the hard ones, then those of the languages in turn until there are enough; from the second round on with a thing of another language. */
export function prompts(): string[] {
	const all = [...HARD];
	const banks = Object.values(LANGUAGES).map((bank) => bank.map((words) => words.split("|")));
	const pick = (words: readonly string[], i: number) => words[i % words.length];
	for (let round = 0; all.length < 1000; round++) {
		for (const [language, [openings, things, places]] of banks.entries()) {
			const others = banks[(language + 1 + 7 * round) % banks.length][1];
			const prompt = `${pick(openings, round)} ${pick(things, round + language)}${round === 0 ? "" : `, ${pick(others, round)}`} ${pick(places, 3 * round + language)}`;
			all.push(round % 4 === 3 ? `${prompt} ${round * 7}` : round % 7 === 5 ? prompt.toUpperCase() : prompt);
		}
	}
	return all.slice(0, 1000);
}
